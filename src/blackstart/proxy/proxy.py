"""A proxy: a listener, its upstreams, its toxics, and the connections that it carries.

All changes are made under one lock, so that they come one after the other; none waits for a connection longer than a
toxic may take to let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.proxy import address, listener
from blackstart.proxy.address import AddressError
from blackstart.proxy.connection import Connection, End, turn_away
from blackstart.proxy.datagrams import Datagrams
from blackstart.proxy.dialling import Network
from blackstart.proxy.interfaces import DoorToxic, Fault, StreamToxic, Visit
from blackstart.proxy.record import Record
from blackstart.proxy.tls import Tls
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM, Toxic, ToxicError
from blackstart.proxy.windows import Windows

RECORDS_MAX = 1000
# How long a connection that is closed may go on writing to a peer that does not read.
CLOSE_S = 1.0


class NotFound(BlackstartError):
    """There is no proxy or toxic of this name."""


class Exists(BlackstartError):
    """There is one of this name already."""


class Proxy:
    """A listener and what it does to those who come.

    listen: where clients come (as wanted, then as bound); upstreams: where they are carried, in turn, past those that
    do not answer; enabled: whether it listens; toxics: in the order in which they were added; bytes, sent: what came
    and what was passed on per direction, of connections that are over; closed: records of the last of these; came: how
    many connections there were.
    """

    def __init__(
        self,
        name: str,
        listen: str,
        upstream: str | Iterable[str],
        *,
        seed: Seed | None = None,
        tls: Tls | None = None,
        network: Network | None = None,
    ) -> None:
        self.name = name
        self.listen = listen
        self.upstreams = [upstream] if isinstance(upstream, str) else list(upstream)
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.tls = tls or Tls()
        self.connections: set[Connection] = set()
        self.closed: deque[Record] = deque(maxlen=RECORDS_MAX)
        self.bytes, self.sent = {UPSTREAM: 0, DOWNSTREAM: 0}, {UPSTREAM: 0, DOWNSTREAM: 0}
        self.lock = asyncio.Lock()
        self.seed = (seed or Seed.fresh()).child("proxy", name)
        self._network = network or Network()
        self.came = 0
        self._listener: listener.Listener | None = None
        self._datagrams: Datagrams | None = None
        self._arriving: dict[asyncio.Task[None], Visit] = {}
        self._contexts = (self.tls.towards_client(), self.tls.towards_upstream())
        self._windows = Windows(self._apply)

    # Listening.

    @property
    def upstream(self) -> str:
        """The first upstream."""
        return self.upstreams[0] if self.upstreams else ""

    async def start(self) -> None:
        """Listen; AddressError, in Go's words, where that is not possible."""
        async with self.lock:
            await self._start()

    async def stop(self) -> None:
        """Refuse connections, and close those that are there; toxics are kept."""
        async with self.lock:
            await self._stop()

    async def delete(self) -> None:
        """Stop for good."""
        self._windows.close()
        await self.stop()

    async def _start(self) -> None:
        if self.enabled:
            return
        if self._door() != "closed":
            await self._open()
        self.enabled = True

    async def _open(self) -> None:
        try:
            wanted = address.parse(self.listen)
        except AddressError as error:
            raise AddressError(f"listen {address.network_of(self.listen)}: {error.what}") from error
        self._check(self.toxics, wanted.network)
        sock = await self._network.listen(wanted)
        self.listen = str(address.of_socket(sock, wanted.network))
        if wanted.network == address.UDP:
            self._datagrams = Datagrams(sock, self, self._network)
            await self._datagrams.start()
        else:
            self._listener = listener.Listener(sock, wanted.network, self._welcome, self._network.new_socket)
            if self._door() == "silent":
                self._listener.fall_silent()

    def _check(self, toxics: list[Toxic], network: str) -> None:
        for toxic in toxics:
            if not toxic.can(network):
                raise ToxicError(f"a {toxic.fault.type} toxic cannot act on {network}")

    async def _shut(self) -> None:
        for opened in (self._listener, self._datagrams):
            if opened is not None:
                opened.close()
        self._listener = self._datagrams = None
        await self._close_all(reset=False)

    async def _stop(self) -> None:
        await self._shut()
        self.enabled = False

    async def update(
        self, *, listen: str | None = None, upstreams: list[str] | None = None, enabled: bool | None = None
    ) -> None:
        """Change what is given. Another address ends all connections; the same one ends none."""
        async with self.lock:
            wanted = self.listen if listen is None else await listener.resolved(listen, self.listen)
            enabled = self.enabled if enabled is None else enabled
            if wanted != self.listen or (upstreams is not None and upstreams != self.upstreams):
                await self._stop()
                self.listen, self.upstreams = wanted, self.upstreams if upstreams is None else upstreams
            if enabled and not self.enabled:
                await self._start()
            elif not enabled and self.enabled:
                await self._stop()

    # Toxics.

    def ordered(self) -> list[Toxic]:
        """The toxics as they act and as they are listed: upstream first, each direction in order of creation."""
        return sorted(self.toxics, key=lambda toxic: toxic.direction != UPSTREAM)

    def toxic(self, name: str) -> Toxic:
        """The toxic of this name, or NotFound."""
        for toxic in self.toxics:
            if toxic.name == name:
                return toxic
        raise NotFound("toxic not found")

    async def add(self, toxic: Toxic) -> None:
        """Add a toxic; it acts on the connections that are open too."""
        async with self.lock:
            if any(one.name == toxic.name for one in self.toxics):
                raise Exists("toxic already exists")
            if self.enabled:
                self._check([toxic], address.parse(self.listen).network)
            toxic.seed(self.seed.child("toxic", toxic.name))
            self.toxics.append(toxic)
            self._windows.add(toxic)
            await self._attach(toxic)

    async def remove(self, name: str) -> None:
        """Remove a toxic; what it held goes on."""
        async with self.lock:
            toxic = self.toxic(name)
            self.toxics.remove(toxic)
            self._windows.remove(toxic)
            await self._detach(toxic)

    async def remove_all(self) -> None:
        """Remove every toxic."""
        for toxic in self.ordered():
            with contextlib.suppress(NotFound):
                await self.remove(toxic.name)

    async def change(self, name: str, fault: Fault, toxicity: float) -> Toxic:
        """Give a toxic other attributes or another toxicity; with the latter the die is cast again."""
        async with self.lock:
            toxic = self.toxic(name)
            is_recast, met = toxicity != toxic.toxicity, self._unanswered(toxic)
            toxic.fault, toxic.toxicity = fault, toxicity
            if toxic.door:
                await self._move_door()
                toxic.hits += 0 if self._unanswered(toxic) else met
            elif toxic.active and isinstance(fault, StreamToxic):
                changes = (self._change(one, toxic, is_recast) for one in list(self.connections))
                await asyncio.gather(*changes)
            return toxic

    async def _change(self, connection: Connection, toxic: Toxic, is_recast: bool) -> None:
        link = connection.link(toxic.direction)
        stage = next((one for one in link.stages if one.toxic is toxic), None)
        is_hit = toxic.rolls(connection.number) if is_recast else stage is not None
        if stage is None:
            if is_hit:
                self._put(connection, toxic)
        elif is_hit:
            await stage.stop()
            stage.start()
        else:
            await self._take(connection, toxic)

    async def _apply(self, toxic: Toxic, active: bool) -> None:
        """A window has opened or closed."""
        async with self.lock:
            if toxic in self.toxics and toxic.active != active:
                toxic.active = active
                await (self._attach(toxic) if active else self._detach(toxic))

    async def _attach(self, toxic: Toxic) -> None:
        if not toxic.active:
            return
        if toxic.door:
            await self._move_door()
        elif isinstance(toxic.fault, StreamToxic):
            for connection in sorted(self.connections, key=lambda one: one.number):
                if toxic.strikes(connection.number):
                    self._put(connection, toxic)

    async def _detach(self, toxic: Toxic) -> None:
        if toxic.door:
            toxic.hits += self._unanswered(toxic)
            await self._move_door()
        else:
            for visit in self._arriving.values():
                visit.let_go(toxic)
            await asyncio.gather(*(self._take(one, toxic) for one in list(self.connections)))

    def _put(self, connection: Connection, toxic: Toxic) -> None:
        link = connection.link(toxic.direction)
        order = {one: at for at, one in enumerate(self.toxics)}
        at = sum(order.get(stage.toxic, -1) < order[toxic] for stage in link.stages)
        connection.record.hits.setdefault(toxic.name, 0)
        link.add(toxic, at, partial(self.seed.source, "draws", toxic.name, toxic.direction, connection.number))

    async def _take(self, connection: Connection, toxic: Toxic) -> None:
        link = connection.link(toxic.direction)
        for stage in [one for one in link.stages if one.toxic is toxic]:
            await link.remove(stage)
            self._count(connection.record, toxic, stage.pipe.hits)

    def _count(self, record: Record, toxic: Toxic, hits: int) -> None:
        toxic.hits += hits
        record.hits[toxic.name] = record.hits.get(toxic.name, 0) + hits

    def _door(self) -> str:
        doors = {toxic.door for toxic in self.toxics if toxic.active and toxic.rolls("door")}
        return "closed" if "closed" in doors else "silent" if "silent" in doors else "open"

    async def _move_door(self) -> None:
        door = self._door()
        if not self.enabled:
            return
        if door == "closed":
            await self._shut()
        elif self._listener is None and self._datagrams is None:
            await self._open()
        elif self._listener is not None:
            (self._listener.fall_silent if door == "silent" else self._listener.speak)()

    # Connections.

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        self.came += 1
        visit = Visit()
        task = asyncio.get_running_loop().create_task(self._serve(sock, peer, self.came, visit))
        self._arriving[task] = visit
        task.add_done_callback(lambda task: self._arriving.pop(task, None))

    async def _serve(self, sock: socket.socket, peer: str, number: int, visit: Visit) -> None:
        record = Record(number, peer, SYSTEM.now(), hits={})
        client: End | None = None
        try:
            if not await self._admitted(visit, number, record):
                self._note_end(record, "turned away")
                return
            secure = self._contexts[0]
            loop = asyncio.get_running_loop()
            _, client = await loop.connect_accepted_socket(lambda: End(secure is not None), sock, ssl=secure)
            server = await self._network.reach(self.upstreams, record, self._contexts[1])
        except (OSError, BlackstartError) as error:
            self._note_end(record, f"upstream: {getattr(error, 'strerror', None) or error}")
            if client is not None:
                client.close()
            return
        except asyncio.CancelledError:
            self._note_end(record, "reset here" if visit.reset else "closed here")
            if client is not None:
                (client.reset if visit.reset else client.close)()
            raise
        finally:
            if client is None:
                turn_away(sock, visit.reset)
        self._begin(Connection(number, client, server, record, self._forget))

    async def _admitted(self, visit: Visit, number: int, record: Record) -> bool:
        for toxic in self.ordered():
            # Others may have been removed while it waited for one.
            is_there = toxic.active and toxic in self.toxics
            if isinstance(toxic.fault, DoorToxic) and is_there and toxic.strikes(number):
                self._count(record, toxic, 1)
                if not await toxic.fault.admit(visit.begin(toxic)):
                    return False
        return True

    def _begin(self, connection: Connection) -> None:
        self.connections.add(connection)
        for toxic in self.toxics:
            is_stream = toxic.active and not toxic.door and isinstance(toxic.fault, StreamToxic)
            if is_stream and toxic.strikes(connection.number):
                self._put(connection, toxic)
        connection.begin()

    def _forget(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        record = self.seen(connection)
        for stage in connection.upstream.stages + connection.downstream.stages:
            stage.toxic.hits += stage.pipe.hits
        for direction in (UPSTREAM, DOWNSTREAM):
            self.bytes[direction] += connection.link(direction).bytes
            self.sent[direction] += connection.sent_bytes(direction)
        self._note_end(record, connection.how or "closed")

    def _note_end(self, record: Record, how: str) -> None:
        record.closed_s = SYSTEM.now()
        record.end = how
        self.closed.append(record)

    def seen(self, connection: Connection) -> Record:
        """The record of an open connection as of now."""
        record = connection.record
        hits = dict(record.hits)
        for stage in connection.upstream.stages + connection.downstream.stages:
            hits[stage.toxic.name] = hits.get(stage.toxic.name, 0) + stage.pipe.hits
        came, sent = connection.upstream.bytes, connection.sent_bytes(DOWNSTREAM)
        return msgspec.structs.replace(record, received_bytes=came, sent_bytes=sent, hits=hits)

    def _unanswered(self, toxic: Toxic) -> int:
        """How many SYN this toxic left without an answer since it began to."""
        return self._listener.unanswered() if self._listener is not None and toxic.door == "silent" else 0

    def hits(self, toxic: Toxic) -> int:
        """How often a toxic acted, in connections that are over and in those that are open."""
        if toxic.door:
            return toxic.hits + (self._unanswered(toxic) if toxic in self.toxics and toxic.active else 0)
        links = (one.link(toxic.direction) for one in self.connections)
        return toxic.hits + sum(stage.pipe.hits for link in links for stage in link.stages if stage.toxic is toxic)

    def records(self) -> Iterator[Record]:
        """Those of the last thousand that are over, then those that are open."""
        yield from self.closed
        yield from self._datagrams.records() if self._datagrams is not None else []
        yield from map(self.seen, sorted(self.connections, key=lambda one: one.number))

    async def close_connections(self, reset: bool = False) -> int:
        """Close what is connected now (with RST if reset); how many there were."""
        async with self.lock:
            return await self._close_all(reset)

    async def _close_all(self, reset: bool) -> int:
        arriving, closing = list(self._arriving), list(self.connections)
        for task in arriving:
            self._arriving[task].reset = reset
            task.cancel()
        if arriving:
            await asyncio.wait(arriving, timeout=CLOSE_S)
        for connection in closing:
            (connection.reset if reset else connection.close)()
        due = SYSTEM.monotonic() + CLOSE_S
        while self.connections & set(closing) and SYSTEM.monotonic() < due:
            await asyncio.sleep(0.001)
        for connection in self.connections & set(closing):
            connection.reset()
        return len(arriving) + len(closing)
