"""The proxies for code without an event loop: they run in a thread of their own.

with SyncProxies(seed=7) as proxies:
    db = proxies.create("db", "127.0.0.1:5432")
    with db.toxic("latency", latency=100):
        ...                                     # connect to db.host, db.port
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from blackstart.core.errors import BlackstartError
from blackstart.proxy import address
from blackstart.proxy.proxies import Proxies
from blackstart.proxy.proxy import Proxy
from blackstart.proxy.toxic import Toxic

T = TypeVar("T")
# No call waits longer: changes end within a second or two whatever the connections do.
_CALL_S = 30.0


class SyncProxies:
    """As Proxies. Use it as a context manager, or call `close`."""

    def __init__(self, seed: int | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blackstart-proxy", daemon=True)
        self._thread.start()
        self._proxies = self.call(self._make(seed))

    async def _make(self, seed: int | None) -> Proxies:
        return Proxies(seed)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this in the proxies' loop and give its result."""
        if self._loop.is_closed():
            work.close()
            raise BlackstartError(
                "the proxies are closed, and this one was used after that",
                next_step="use it inside the `with`, or the test, in which it was made",
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    def __enter__(self) -> SyncProxies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.call(self._proxies.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        return self._proxies.seed.number

    def create(self, name: str, upstream: str, *, listen: str = "127.0.0.1:0", **more: Any) -> SyncProxy:
        """A new proxy that listens; more: fields of the API."""
        return SyncProxy(self, self.call(self._proxies.create(name, upstream, listen=listen, **more)), self._proxies)

    def populate(self, described: list[dict[str, Any]]) -> list[SyncProxy]:
        """The proxies of a list such as a config file has; what is the same already is left alone."""
        return [SyncProxy(self, made, self._proxies) for made in self.call(self._proxies.populate(described))]

    def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        self.call(self._proxies.reset())


class SyncProxy:
    """As Proxy."""

    def __init__(self, owner: SyncProxies, proxy: Proxy, proxies: Proxies) -> None:
        self._owner = owner
        self._proxy = proxy
        self._proxies = proxies

    def __repr__(self) -> str:
        return f"<proxy {self.name} {self.listen} -> {self._proxy.upstream}>"

    @property
    def name(self) -> str:
        """What it is called."""
        return self._proxy.name

    @property
    def listen(self) -> str:
        """Where it listens, as `127.0.0.1:4711`."""
        return self._proxy.listen

    @property
    def host(self) -> str:
        """The host of `listen`, or the path of a unix socket."""
        return address.parse(self.listen).host

    @property
    def port(self) -> int:
        """The port of `listen`."""
        return address.parse(self.listen).port

    def add(self, type: str, stream: str = "downstream", **attributes: Any) -> str:
        """Add a toxic, also with name=, toxicity=, rule=, window=; its name."""
        return self._owner.call(self._proxies.add(self.name, type, stream, **attributes)).name

    def change(self, name: str, **attributes: Any) -> None:
        """Change attributes of a toxic, also with toxicity=; what is not given stays."""
        fields = {"toxicity": attributes.pop("toxicity")} if "toxicity" in attributes else {}
        self._owner.call(self._proxies.change_toxic(self.name, name, fields | {"attributes": attributes}))

    def delete(self) -> None:
        """Stop it and forget it."""
        self._owner.call(self._proxies.delete(self.name))

    def remove(self, name: str) -> None:
        """Remove a toxic; what it held goes on."""
        self._owner.call(self._proxy.remove(name))

    def toxics(self) -> list[str]:
        """The names of the toxics that are there, in the order in which they act."""
        return [one.name for one in self._proxy.ordered()]

    # The undo stands around the effect: an interrupt may fall between any two lines.

    @contextmanager
    def toxic(self, type: str, stream: str = "downstream", **attributes: Any) -> Iterator[str]:
        """A toxic for the length of a block."""
        before = {id(one): one for one in self._proxy.toxics}
        name = str(attributes.setdefault("name", f"{type}_{stream}"))
        try:
            yield self.add(type, stream, **attributes)
        finally:
            self._owner.call(self._remove_unless(before, name))

    async def _remove_unless(self, before: dict[int, Toxic], name: str) -> None:
        """Remove the toxic of this name that was not there before, if it was added and not removed meanwhile."""
        # Whoever was interrupted while he waited for the toxic: it is added by the time this has the lock.
        async with self._proxy.lock:
            there = any(one.name == name and id(one) not in before for one in self._proxy.toxics)
        if there:
            await self._proxy.remove(name)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for the length of a block."""
        try:
            self._owner.call(self._proxy.stop())
            yield
        finally:
            self._owner.call(self._proxy.start())

    def disconnect(self, reset: bool = False) -> int:
        """Close what is connected now (with RST if reset); how many connections there were."""
        return self._owner.call(self._proxy.close_connections(reset))

    def connections(self) -> list[dict[str, Any]]:
        """What happened to each connection, and which toxic hit it how often."""

        async def ask() -> list[dict[str, Any]]:
            return [one.as_dict() for one in self._proxy.records()]

        return self._owner.call(ask())
