"""UDP: datagrams between many clients and an upstream, each through the toxics of its direction.

Each client address is a flow with a socket of its own towards the upstream, so that answers find their way back; a flow
that was silent for a minute is forgotten.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blackstart.core.clock import SYSTEM
from blackstart.proxy import address
from blackstart.proxy.dialling import Network
from blackstart.proxy.interfaces import DatagramToxic, Flow
from blackstart.proxy.record import Record
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM, Toxic

if TYPE_CHECKING:
    from blackstart.proxy.proxy import Proxy

FLOWS_MAX, IDLE_S = 4096, 60.0


class _Port(asyncio.DatagramProtocol):
    """Hands each datagram on."""

    def __init__(self, received: Callable[[bytes, Any], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """A refused datagram is lost, as it would be without us."""


class Talk:
    """The datagrams of one client. flows: the memory of each toxic, by its name."""

    def __init__(self, number: int, client: Any, record: Record) -> None:
        self.number = number
        self.client = client
        self.record = record
        self.flows: dict[str, Flow] = {}
        self.used_s = SYSTEM.monotonic()
        self.waiting: list[bytes] | None = []
        self.transport: asyncio.DatagramTransport | None = None


class Datagrams:
    """The listener of a proxy for UDP."""

    def __init__(self, sock: socket.socket, proxy: Proxy, network: Network) -> None:
        self._sock = sock
        self._network = network
        self._proxy = proxy
        self._seed = proxy.seed
        self._talks: dict[Any, Talk] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._dialling: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Take datagrams from now on."""
        self._transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Port(self._from_client), sock=self._sock
        )

    def close(self) -> None:
        for talk in list(self._talks.values()):
            self._end(talk)
        for task in self._dialling:
            task.cancel()
        if self._transport is not None:
            self._transport.close()

    def records(self) -> list[Record]:
        """Of the clients that are remembered now."""
        return [talk.record for talk in self._talks.values()]

    def _from_client(self, data: bytes, client: Any) -> None:
        talk = self._talks.get(client) or self._begin(client)
        talk.used_s = SYSTEM.monotonic()
        talk.record.received_bytes += len(data)
        self._proxy.bytes[UPSTREAM] += len(data)
        self._pass(data, UPSTREAM, talk, lambda out: self._to_upstream(talk, out))

    def _begin(self, client: Any) -> Talk:
        now = SYSTEM.monotonic()
        if len(self._talks) >= FLOWS_MAX or (self._talks and now - next(iter(self._talks.values())).used_s > IDLE_S):
            self._end(min(self._talks.values(), key=lambda one: one.used_s))
        self._count += 1
        upstreams = self._proxy.upstreams or [""]
        upstream = upstreams[(self._count - 1) % len(upstreams)]
        record = Record(self._count, address.peer_text(client), SYSTEM.now(), upstream, hits={})
        talk = self._talks[client] = Talk(self._count, client, record)
        task = self._loop.create_task(self._dial(talk))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return talk

    async def _dial(self, talk: Talk) -> None:
        try:
            where = await self._network.reach_datagrams(talk.record.upstream)
            talk.transport, _ = await self._loop.create_datagram_endpoint(
                lambda: _Port(lambda data, _: self._from_upstream(data, talk)), **where
            )
        except (OSError, address.AddressError) as error:
            talk.record.end = f"upstream: {error}"
            self._end(talk)
            return
        if talk.record.closed_s is not None:  # it had to make room for another one meanwhile
            talk.transport.close()
            return
        waiting, talk.waiting = talk.waiting or [], None
        for data in waiting:
            self._to_upstream(talk, data)

    def _to_upstream(self, talk: Talk, data: bytes) -> None:
        if talk.waiting is not None:
            if len(talk.waiting) < 100:
                talk.waiting.append(data)
        elif talk.transport is not None and not talk.transport.is_closing():
            talk.transport.sendto(data)
            self._proxy.sent[UPSTREAM] += len(data)

    def _from_upstream(self, data: bytes, talk: Talk) -> None:
        talk.used_s = SYSTEM.monotonic()  # who only listens is not silent
        self._proxy.bytes[DOWNSTREAM] += len(data)
        self._pass(data, DOWNSTREAM, talk, lambda out: self._to_client(talk, out))

    def _to_client(self, talk: Talk, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, talk.client)
            talk.record.sent_bytes += len(data)
            self._proxy.sent[DOWNSTREAM] += len(data)

    def _pass(self, data: bytes, direction: str, talk: Talk, send: Callable[[bytes], None]) -> None:
        """Through the toxics of this direction: delays add up, and what is left is sent."""
        arriving = [(0.0, data)]
        for toxic in self._proxy.toxics:
            if toxic.direction == direction and toxic.active and isinstance(toxic.fault, DatagramToxic):
                arriving = [out for one in arriving for out in self._through(toxic, one, talk)]
        for delay_s, out in arriving:
            if delay_s > 0:
                self._loop.call_later(delay_s, send, out)
            else:
                send(out)

    def _through(self, toxic: Toxic, one: tuple[float, bytes], talk: Talk) -> list[tuple[float, bytes]]:
        flow = talk.flows.get(toxic.name)
        if flow is None:
            flow = talk.flows[toxic.name] = Flow(self._seed.source("datagrams", toxic.name, talk.number))
        flow.count += 1
        if not toxic.strikes(f"{talk.number}.{flow.count}"):
            return [one]
        assert isinstance(toxic.fault, DatagramToxic)
        delay_s, data = one
        out = [(delay_s + more_s, changed) for more_s, changed in toxic.fault.deliver(data, flow)]
        if out != [one]:
            toxic.hits += 1
            talk.record.hits[toxic.name] = talk.record.hits.get(toxic.name, 0) + 1
        return out

    def _end(self, talk: Talk) -> None:
        if self._talks.pop(talk.client, None) is None:
            return
        talk.record.closed_s = SYSTEM.now()
        talk.record.end = talk.record.end or "closed"
        self._proxy.closed.append(talk.record)
        if talk.transport is not None:
            talk.transport.close()
