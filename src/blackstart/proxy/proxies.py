"""All proxies of a server or of a test, by name.

async with Proxies(seed=7) as proxies:
    proxy = await proxies.create("db", "127.0.0.1:5432")
    await proxies.add(proxy.name, "latency", latency=100)

A key that nobody reads is refused: the toxic would be milder than was meant, and a bad program look good. Only for
clients of Toxiproxy, which ignores such keys, and for its config files can the calls that take JSON be less strict.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.proxy.address import UDP, AddressError, network_of
from blackstart.proxy.interfaces import Fault
from blackstart.proxy.listener import resolved
from blackstart.proxy.proxy import Exists, NotFound, Proxy
from blackstart.proxy.tls import Tls
from blackstart.proxy.toxic import Toxic, out_of_range
from blackstart.proxy.wire import (
    STREAMS_ONLY,
    ApiError,
    ProxyBody,
    changed,
    check_proxy,
    new_toxic,
    proxy_body,
    tls_of,
    unread,
    unread_change,
    unread_toxic,
    unread_update,
)


class Proxies:
    """Makes, finds and deletes proxies. seed: of every draw of all of them; None: a fresh one."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = Seed.fresh() if seed is None else Seed(seed)
        self._by_name: dict[str, Proxy] = {}
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Proxies:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for name in list(self._by_name):
            await self.delete(name)

    def __iter__(self) -> Any:
        return iter(sorted(self._by_name.values(), key=lambda proxy: proxy.name))

    def get(self, name: str) -> Proxy:
        """The proxy of this name, or NotFound."""
        if name not in self._by_name:
            raise NotFound("proxy not found")
        return self._by_name[name]

    async def create(self, name: str, upstream: str, *, listen: str = "127.0.0.1:0", **more: Any) -> Proxy:
        """A new proxy that listens. more: fields of the API, such as toxics=[{"type": "latency", ...}]."""
        return await self.make({"name": name, "upstream": upstream, "listen": listen} | more)

    async def make(self, described: Any, *, is_strict: bool = True) -> Proxy:
        """The proxy that this JSON value describes, its toxics in place before it listens."""
        body = proxy_body(described)
        check_proxy(body)
        if is_strict:
            toxics_of(body, is_strict=True)  # what is wrong in Toxiproxy's words comes first
            _refuse(unread([described]))
        async with self._lock:
            if body.name in self._by_name:
                raise Exists("proxy already exists")
            return await self._make(body)

    async def _make(self, body: ProxyBody) -> Proxy:
        assert body.name is not None
        toxics = toxics_of(body)
        proxy = Proxy(body.name, body.listen or "", body.all_upstreams, seed=self.seed, tls=tls_of(body))
        try:
            for toxic in toxics:
                await proxy.add(toxic)
            if body.enabled is not False:
                await proxy.start()
        except BaseException:
            await proxy.delete()
            raise
        self._by_name[body.name] = proxy
        return proxy

    async def update(self, name: str, described: Any, *, is_strict: bool = True) -> Proxy:
        """Change what this JSON value says of a proxy."""
        proxy = self.get(name)
        body = proxy_body(described)
        tls_of(body)
        if proxy.tls != Tls() and network_of(body.listen or "") == UDP:
            raise ApiError(400, STREAMS_ONLY)
        if is_strict:
            _refuse(unread_update(described, name))
        upstreams = body.all_upstreams or None
        await proxy.update(listen=body.listen, upstreams=upstreams, enabled=body.enabled)
        return proxy

    async def delete(self, name: str) -> None:
        """Stop a proxy and forget it."""
        proxy = self.get(name)
        del self._by_name[name]
        await proxy.delete()

    async def add(self, proxy: str, /, type: str, stream: str = "downstream", **attributes: Any) -> Toxic:
        """Add a toxic to the proxy of this name. What is no attribute (name, toxicity, rule, window) is told apart."""
        fields = {key: attributes.pop(key) for key in ("name", "toxicity", "rule", "window") if key in attributes}
        return await self.make_toxic(proxy, {"type": type, "stream": stream, "attributes": attributes} | fields)

    async def make_toxic(self, name: str, described: Any, *, is_strict: bool = True) -> Toxic:
        """Add the toxic that this JSON value describes."""
        proxy = self.get(name)
        toxic = new_toxic(described, [one.name for one in proxy.toxics])
        if is_strict:
            _refuse(unread_toxic(described, name))
        _check_values(toxic.fault, toxic.toxicity, proxy.listen, is_strict)
        await proxy.add(toxic)
        return toxic

    async def change_toxic(self, name: str, toxic_name: str, described: Any, *, is_strict: bool = True) -> Toxic:
        """Change attributes or toxicity of a toxic."""
        proxy = self.get(name)
        toxic = proxy.toxic(toxic_name)
        fault, toxicity = changed(toxic, described)
        if is_strict:
            _refuse(unread_change(described, toxic, name))
        _check_values(fault, toxicity, proxy.listen, is_strict)
        return await proxy.change(toxic_name, fault, toxicity)

    async def populate(self, described: Any, *, is_strict: bool = True) -> list[Proxy]:
        """Make the proxies of a list, and replace those that differ; what is the same already is left alone.

        Beyond Toxiproxy: toxics that the list names take the place of those that are there.
        PopulateError if one cannot be made, with those that were.
        """
        if described is None:
            described = []
        if not isinstance(described, list):
            raise ApiError(400, "bad request body: json: cannot unmarshal object into Go value of type []Proxy")
        bodies = [proxy_body(one) for one in described]
        for number, body in enumerate(bodies, 1):
            check_proxy(body, f" at proxy {number}")
            toxics_of(body, is_strict=is_strict)
            tls_of(body)
        if is_strict:
            _refuse(unread(described))
        made: list[Proxy] = []
        for body in bodies:
            try:
                async with self._lock:
                    made.append(await self._place(body))
            except BlackstartError as error:
                raise PopulateError(error, made) from error
        return made

    async def _place(self, body: ProxyBody) -> Proxy:
        assert body.name is not None
        there = self._by_name.get(body.name)
        if there is None:
            return await self._make(body)
        same = await resolved(body.listen or "", there.listen) == there.listen
        if same and there.upstreams == body.all_upstreams:
            if body.toxics:
                await there.remove_all()
                for toxic in toxics_of(body):
                    await there.add(toxic)
            return there
        self._by_name.pop(body.name, None)
        await there.delete()
        return await self._make(body)

    async def reset(self) -> None:
        """Enable every proxy and remove every toxic; AddressError of the first that cannot listen, after all others."""
        failures: list[BlackstartError] = []
        for proxy in list(self):
            await proxy.remove_all()
            try:
                await proxy.start()
            except BlackstartError as error:
                failures.append(error)
        if failures:
            raise failures[0]


class PopulateError(ApiError):
    """Why populate stopped, and the proxies that it had made."""

    def __init__(self, error: BlackstartError, made: list[Proxy]) -> None:
        super().__init__(status_of(error), error.what)
        self.made = made


def _refuse(sentences: list[str]) -> None:
    """The first of what was said in vain as an error."""
    for sentence in sentences:
        raise ApiError(400, sentence)


def _check_values(fault: Fault, toxicity: float, listen: str, is_strict: bool) -> None:
    if wrong := out_of_range(fault, toxicity, listen, is_strict=is_strict):
        raise ApiError(400, f"toxic {fault.type}: {wrong}")


def toxics_of(body: ProxyBody, *, is_strict: bool = False) -> list[Toxic]:
    """The toxics that a client wants from the start."""
    toxics: list[Toxic] = []
    for one in body.toxics or ():
        toxics.append(new_toxic(one, [toxic.name for toxic in toxics]))
        _check_values(toxics[-1].fault, toxics[-1].toxicity, body.listen or "", is_strict)
    return toxics


def status_of(error: BlackstartError) -> int:
    """The status of the answer that tells of this error."""
    if isinstance(error, ApiError):
        return error.status
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Exists):
        return 409
    return 500 if isinstance(error, AddressError) else 400
