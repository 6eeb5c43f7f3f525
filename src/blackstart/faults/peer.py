"""Kind `peer`: what the target connects to is gone, silent, slow or cut off, and is well again after a while.

The target reaches its companions through a proxy of ours. At a chosen call on the socket, while the caller waits in
the gate, the proxy begins to break that peer; so the same step of the program meets the same failure each time. Peers
always come back: a job's after OUTAGE_S, a service's when its workload is over. Who tries again for ever is right then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import ClassVar

import msgspec

from blackstart.core import history
from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.clock import SYSTEM
from blackstart.core.history import Injected
from blackstart.core.trace import Operation
from blackstart.core.units import plural
from blackstart.faults.kill import crash_before
from blackstart.faults.point import Point, spread, unplanned
from blackstart.faults.scene import (
    RESTART,
    RUN,
    Candidate,
    CannotInject,
    CompanyGone,
    Peers,
    Scene,
    during,
    fired_in_gate,
)
from blackstart.gate import HERE, Caller, notify
from blackstart.proxy import Proxy, Toxic
from blackstart.proxy.address import UDP, parse
from blackstart.proxy.connection import Connection
from blackstart.proxy.interfaces import Fault, Flow
from blackstart.proxy.pipe import FIN, Pipe
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM
from blackstart.proxy.toxics.accept_close import AcceptClose
from blackstart.proxy.toxics.blackhole import Blackhole
from blackstart.proxy.toxics.down import Down
from blackstart.proxy.toxics.latency import Latency
from blackstart.targets import Conducted

PLAIN, REFUSED, SILENT, RESET, PARTIAL, CLOSED, SLOW, UNANSWERED = (
    "plain", "refused", "silent", "reset", "partial", "closed", "slow", "unanswered"
)  # fmt: skip
OUTAGE_S, SLOW_MS = 2.0, 2000
# How long the proxy may take to see a connection that the target has made already.
SEEN_S, _TICK_S = 2.0, 0.005
# Between the first half of an answer and its end: the client has read that half by then.
_HALF_S = 0.05
_NUMBERS = count(1)
# What the pipes of one silence share: an event that is set once the peer is back.
_BACK = "back"
_SENDS = frozenset(("write", "writev", "sendto", "sendmsg", "sendmmsg"))
_WORDS = {
    PLAIN: "is behind a proxy",
    REFUSED: "is gone: open connections end, new ones are refused",
    SILENT: "goes silent: what is sent is taken, and never answered",
    RESET: "resets the connection in the middle of its answer",
    PARTIAL: "closes the connection in the middle of its answer",
    CLOSED: "closes new connections at once",
    SLOW: f"answers {SLOW_MS // 1000} s late",
    UNANSWERED: "answers no connect: a SYN vanishes, and what is connected goes on",
}
# At a connect, and at a send; those that have found most first.
_OF_DATAGRAMS: tuple[str, ...] = (SILENT, REFUSED, SLOW)
_AT_CONNECT: tuple[str, ...]
_AT_SEND: tuple[str, ...]
_AT_CONNECT = (SILENT, REFUSED, RESET, PARTIAL, CLOSED, SLOW, UNANSWERED)
_AT_SEND = (SILENT, REFUSED, RESET, PARTIAL)
_BRIEF = (RESET, PARTIAL)
_OF_STREAMS = (*_BRIEF, CLOSED, UNANSWERED)


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="peer", tag_field="fault"):
    """From this point on the peer is broken; back_s: it is well again after so long (0: when everything is healed)."""

    kind: ClassVar[str] = "peer"
    is_proxied: ClassVar[bool] = True
    point: Point
    how: str
    back_s: float = 0.0
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """Healed before the restart."""
        return False

    @property
    def is_brief(self) -> bool:
        """It hits one connection, and who connects after that is served, before anything is healed."""
        return self.how in _BRIEF

    def __str__(self) -> str:
        peer = self.point.path.removeprefix("socket:")
        back = f", for {self.back_s:.0f} s" if self.back_s and not self.is_brief else ""
        return f"{peer} {_WORDS[self.how]}{back}, from {self.point.call} @{self.point.nth} on{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        path = self.point.path
        peers = scene.peers()
        proxies = peers.proxies(path) if peers else ()
        if peers is None or not proxies:
            raise CannotInject(f"{path.removeprefix('socket:')} is not reached through a proxy of ours")
        breaking = _Breaking(self, peers, proxies)
        order = msgspec.structs.replace(self.point.tamper(f"@{self.point.nth} {HERE}"), act=breaking.strike)
        try:
            peers.breaks(path, breaking)
            with scene.armed(order):
                yield
        finally:
            with suppress(CompanyGone):
                peers.call(breaking.heal())

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: something that passed was hit, or nobody listened any more."""
        injected = fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)
        peer = next((one for one in conducted.peers if one.address == self.point.path), None)
        if not injected.fired or self.how == PLAIN:
            return injected
        if peer is None or not (peer.hits or peer.refused):
            return msgspec.structs.replace(injected, fired=0, note="nothing passed that could have been hit")
        told = "nobody listened" if peer.refused else f"{plural(peer.hits, 'time')} something that passed was hit"
        if self.how == UNANSWERED:
            told = f"{peer.hits} SYN had no answer"
        return msgspec.structs.replace(injected, note=told)


class _Silence(msgspec.Struct, frozen=True):
    """What the peer says is taken, and goes nowhere."""

    type: ClassVar[str] = "silence"

    async def run(self, pipe: Pipe) -> None:
        while await pipe.read():
            pipe.act()
        await pipe.interruption()

    def deliver(self, datagram: bytes, flow: Flow) -> tuple[tuple[float, bytes], ...]:
        return ()


class _Deafness(msgspec.Struct, frozen=True):
    """What the client says is taken, and goes nowhere. A peer that is back knows nothing of old connections.

    The client learns that by a reset, but only when it says something more. The peer's own side is ended at once: one
    that serves one connection at a time would otherwise wait for this one for ever, and whoever comes next would hang.
    """

    type: ClassVar[str] = "deafness"

    async def run(self, pipe: Pipe) -> None:
        forgetting = asyncio.ensure_future(self._forget(pipe))
        try:
            while await pipe.read():
                if pipe.shared[_BACK].is_set():
                    pipe.reset()
                    return
                pipe.act()
            await pipe.interruption()
        finally:
            forgetting.cancel()

    def deliver(self, datagram: bytes, flow: Flow) -> tuple[tuple[float, bytes], ...]:
        return ()

    async def _forget(self, pipe: Pipe) -> None:
        await pipe.shared[_BACK].wait()
        pipe.next.end(FIN)


class _Cut(msgspec.Struct, frozen=True):
    """The first half of what comes next, then the end."""

    type: ClassVar[str] = "cut"
    reset: bool

    async def run(self, pipe: Pipe) -> None:
        data = await pipe.read()
        if not data:
            return
        pipe.act()
        await pipe.write(data[: len(data) // 2])
        await pipe.wait(_HALF_S)
        (pipe.reset if self.reset else pipe.close)()


class _Chosen(Toxic):
    """A toxic for some connections, by their numbers."""

    def __init__(self, fault: Fault, is_it: Callable[[int], bool]) -> None:
        super().__init__(f"{fault.type}", DOWNSTREAM, fault)
        self._is_it = is_it

    def strikes(self, number: int | str) -> bool:
        return self._is_it(int(number))


class _Breaking:
    """The fault at work on the proxies of one address. All but `strike` runs in the loop of the proxies.

    What streams and datagrams have in common fails for both, as it would with the machine behind that address.
    """

    def __init__(self, fault: Peer, peers: Peers, proxies: tuple[Proxy, ...]) -> None:
        self._fault = fault
        self._peers = peers
        self._proxies = proxies
        self._toxics: list[tuple[Proxy, Toxic]] = []
        self._is_healing = False
        self._came_when_healed = -1
        self._timer: asyncio.Task[None] | None = None

    def strike(self, caller: Caller) -> tuple[bool, str]:
        """Break it now; the caller goes on afterwards."""
        client, kind = _own_socket(caller)
        if kind == socket.SOCK_DGRAM and self._fault.how in _OF_STREAMS:
            return False, "it was datagrams that went there: they have no connection that could fail so"
        self._peers.call(self._strike("" if self._fault.point.call == "connect" else client))
        return True, ""

    async def _strike(self, client: str) -> None:
        for proxy in self._proxies:
            for toxic in await self._wanted(client, proxy):
                if not toxic.can(parse(proxy.listen).network):
                    continue
                toxic.name = f"{toxic.name} {next(_NUMBERS)}"  # those of an earlier silence may be there still
                self._toxics.append((proxy, toxic))
                await proxy.add(toxic)
        if self._fault.back_s:
            self._timer = asyncio.get_running_loop().create_task(self._come_back())

    async def _wanted(self, client: str, proxy: Proxy) -> list[Toxic]:
        how = self._fault.how
        if how == PLAIN:
            return []
        if how == SILENT:
            deafness = Toxic("deafness", UPSTREAM, _Deafness())
            deafness.shared[_BACK] = asyncio.Event()
            return [deafness, Toxic("silence", DOWNSTREAM, _Silence())]
        if how in _BRIEF:
            number = await self._number(client, proxy)
            return [_Chosen(_Cut(reset=how == RESET), lambda one: one == number)]
        faults: dict[str, Fault] = {
            REFUSED: Down(), CLOSED: AcceptClose(), SLOW: Latency(latency=SLOW_MS), UNANSWERED: Blackhole()
        }  # fmt: skip
        return [Toxic(how, DOWNSTREAM, faults[how])]

    async def _number(self, client: str, proxy: Proxy) -> int:
        """The connection that the caller uses, or is about to make."""
        if self._fault.point.call == "connect":
            return proxy.came + 1
        if parse(proxy.listen).network == UDP:
            return -1
        end_s = SYSTEM.monotonic() + SEEN_S
        while not (found := _of(client, proxy)) and SYSTEM.monotonic() < end_s:
            await asyncio.sleep(_TICK_S)
        return max((one.number for one in found), default=-1)

    async def _come_back(self) -> None:
        await asyncio.sleep(self._fault.back_s)
        await self._heal()

    async def heal(self) -> None:
        """End it; what it made of connections stays. AddressError where the peer could not come back."""
        if self._timer is not None and self._is_healing:
            await self._timer
            return
        if self._timer is not None:
            self._timer.cancel()
        await self._heal()

    async def _heal(self) -> None:
        if self._is_healing or not self._toxics:
            return
        self._is_healing = True
        for proxy, toxic in self._toxics:
            if isinstance(toxic.fault, _Deafness | _Silence):
                toxic.active = False  # for new connections; the old ones stay as they are
                if _BACK in toxic.shared:
                    toxic.shared[_BACK].set()
            else:
                await proxy.remove(toxic.name)
        self._came_when_healed = self._came()

    def _came(self) -> int:
        return sum(proxy.came for proxy in self._proxies)

    def told(self, path: str) -> history.Peer:
        """What it did, and what came of it."""
        healed = self._came_when_healed >= 0
        return history.Peer(
            address=path,
            hits=sum(proxy.hits(toxic) for proxy, toxic in self._toxics),
            refused=any(toxic.door == "closed" for _, toxic in self._toxics),
            healed=healed,
            after=self._came() - self._came_when_healed if healed else 0,
        )


def _of(client: str, proxy: Proxy) -> list[Connection]:
    """The connections of this client; of one without an address all."""
    return [one for one in proxy.connections if not client or one.record.client == client]


def _own_socket(caller: Caller) -> tuple[str, int]:
    """The address of the caller's end of its connection, as records have it, and the type of its socket; "" and 0 where
    there is none.
    """
    try:
        with socket.socket(fileno=notify.borrow_descriptor(caller.process, caller.descriptor)) as borrowed:
            name, kind = borrowed.getsockname(), borrowed.type
    except OSError:
        return "", 0
    if not isinstance(name, tuple):
        return "", kind
    host = name[0].removeprefix("::ffff:")
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}", kind


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each way of failing at each distinct call on the socket of each peer; and one while it recovers."""
    worth = [o for o in clean.trace if o.masked in calibration.peers and o.call in ("connect", *_SENDS)]
    back_s = 0.0 if calibration.is_service else OUTAGE_S
    for point, places in spread(worth):
        for order, how in enumerate(_hows(point, calibration)):
            yield Candidate(
                fault=Peer(point=point, how=how, back_s=back_s),
                start=clean.start,
                rank=(order // 2 + _late(point, calibration), 2),
                cause=("peer", how, point.path, point.call),
                path=point.path,
                places=places,
            )
    yield from _during_recovery(worth, clean, back_s)


def first_connect(clean: CleanRun, calibration: Calibration) -> Point | None:
    """Where the target first turns to a companion: it connects, or, where it need not, sends."""
    calls = ("connect", *_SENDS)
    found = (o for o in clean.trace if o.masked in calibration.peers and o.call in calls and o.nth == 1)
    return next((point for point, _ in spread(found)), None)


def _hows(point: Point, calibration: Calibration) -> tuple[str, ...]:
    """The ways of failing that there are for this call."""
    if point.path in calibration.datagram_peers:
        return _OF_DATAGRAMS
    hows = _AT_CONNECT if point.call == "connect" else _AT_SEND
    return tuple(how for how in hows if how != UNANSWERED or not point.path.startswith("socket:unix:"))


def _late(point: Point, calibration: Calibration) -> int:
    """1 for what is tried later: of a job all but the first call, of a service what fails before it is in mid-work."""
    return int(point.nth == 1) if calibration.is_service else int(point.nth > 1)


def _during_recovery(worth: list[Operation], clean: CleanRun, back_s: float) -> Iterator[Candidate]:
    changed = next((o.masked for o in clean.trace if o.changes), "")
    crash = crash_before(changed, clean) if changed else None
    connects = [o for o in worth if o.call == "connect" and o.nth == 1]
    for point, places in spread(connects) if crash is not None else ():
        yield Candidate(
            fault=Peer(point=unplanned(point), how=REFUSED, back_s=back_s, phase=RESTART),
            crash=crash,
            start=clean.start,
            rank=(6, 3),
            cause=("peer during recovery", point.path),
            path=point.path,
            places=places,
        )
