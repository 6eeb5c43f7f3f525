"""Kind `clients`: whoever uses a service does it badly: vanishes, reads never or slowly, sends half a request or noise.

As soon as the service is ready, a crowd connects from outside to a port on which it listens, does its worst at once,
and stays until all is healed, beside the workload. Half a request is that of HTTP: to any other protocol it is noise.
Who reads slowly needs somebody who goes on reading: a thread of ours, which ends with the crowd.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.randomness import Seed
from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.core.units import plural
from blackstart.faults.scene import RUN, Candidate, CannotInject, Scene
from blackstart.gate import HERE, Caller, Match, Tamper
from blackstart.targets import Conducted

VANISH, HALF, UNREAD, MANY, GARBAGE, SLOW = "vanish", "half", "unread", "many", "garbage", "slow"
CROWD = {VANISH: 50, HALF: 50, UNREAD: 50, MANY: 200, GARBAGE: 20, SLOW: 20}
_WORDS = {
    VANISH: "send half a request and are gone (RST)",
    HALF: "send half a request and stay",
    UNREAD: "ask again and again and never read",
    MANY: "connect and say nothing",
    GARBAGE: "send 64 KiB of noise",
    SLOW: "ask again and again and read 10 kB a second",
}
_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
_REQUESTS, _NOISE_BYTES, _SMALL_BYTES = 200, 1 << 16, 2048
_CONNECT_S = 0.05
# A far client: small packets, for which the kernel of the service keeps little room, and little of them at a time. Each
# piece that it reads comes soon enough to look like progress.
_FAR_MSS, _SIP_BYTES, _SIP_EVERY_S = 536, 1000, 0.1
# So long they stay at least, for a workload may be over before they have read at all.
_SLOW_S = 2.0
_FAMILIES = {"socket:inet:": socket.AF_INET, "socket:inet6:": socket.AF_INET6}
# A socket bound to no address in particular is asked at the loopback's.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
# A client is met where the next one is accepted, or one that was is read: an accept that waits already is not seen.
_MEETING, _ACCEPTED = "accept|accept4|recvfrom|recvmsg|read", "socket:"
# Whoever is held by slow readers neither accepts nor reads any more, but sends what they have room for.
_ANSWERING = "sendto|sendmsg|write|writev"
_RESET = struct.pack("ii", 1, 0)


class Clients(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="clients", tag_field="fault"):
    """A crowd of clients at this socket (masked, as the gate calls it) once the service is ready."""

    kind: ClassVar[str] = "clients"
    how: str
    path: str
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """They are gone before the restart."""
        return False

    def __str__(self) -> str:
        return f"{CROWD[self.how]} clients of {self.path.removeprefix('socket:')} {_WORDS[self.how]}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        if scene.new_socket is None:
            raise CannotInject("there is no service to be used")
        crowd = _Crowd(self, scene.new_socket, scene.seed)
        calls = f"{_MEETING}|{_ANSWERING}" if self.how == SLOW else _MEETING
        seen = Match(call=calls, path=f"{self.path}|{_ACCEPTED}")
        before, hold_s = list(scene.when_ready), scene.hold_s
        try:
            scene.when_ready.append(crowd.come)
            scene.hold_s = max(hold_s, _SLOW_S if self.how == SLOW else 0.0)
            with scene.armed(Tamper(match=seen, rule=parse(HERE), act=crowd.is_met)):
                yield
        finally:
            scene.when_ready[:], scene.hold_s = before, hold_s
            crowd.leave()

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the service accepted, or read what somebody sent, while they were there."""
        met = [one for one in conducted.firings if one.tamper_index == first_tamper and one.delivered]
        often = plural(len(met), "time")
        note = f"it turned to clients {often} while they were there" if met else "it accepted none of them"
        told = next((firing.note for firing in reversed(met) if firing.note), "")
        if self.how == SLOW and met:
            note = f"{note}; {told or 'nothing of an answer was read'}"
        return Injected(
            fault=str(self), kind=self.kind, hits=len(met), fired=0 if self.how == SLOW and not told else len(met),
            operation=met[0].operation if met else None, outputs=conducted.outputs_at_firing, note=note,
        )  # fmt: skip


class _Crowd:
    """The clients of one start."""

    def __init__(self, fault: Clients, new_socket: Callable[[int], socket.socket], seed: int) -> None:
        self._how = fault.how
        self._family, host, port = _place(fault.path)
        self._place = (_LOOPBACK.get(host, host), port)
        self._new_socket = new_socket
        self._noise = Seed(seed).source("clients")
        self._clients: list[socket.socket] = []
        self._has_come = False
        self._leaving = threading.Event()
        self._reader: threading.Thread | None = None
        self._read_bytes = 0

    def come(self) -> bool:
        """Connect and do it; whether anybody could connect."""
        for _ in range(CROWD[self._how]):
            client = self._new_socket(self._family)
            client.settimeout(_CONNECT_S)
            if self._how in (UNREAD, SLOW):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
            if self._how == SLOW:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _FAR_MSS)
            try:
                client.connect(self._place)
            except OSError:
                client.close()
                break
            client.setblocking(False)
            self._has_come = True
            with contextlib.suppress(OSError):
                client.send(self._words())
            if self._how == VANISH:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
            else:
                self._clients.append(client)
        if self._how == SLOW and self._clients and self._reader is None:
            self._reader = threading.Thread(target=self._sip, name="blackstart-clients", daemon=True)
            self._reader.start()
        return self._has_come

    def _sip(self) -> None:
        """Read a little of each answer, and ask for more, until all is healed."""
        words, said = self._words(), [0] * len(self._clients)
        while not self._leaving.wait(_SIP_EVERY_S):
            for at, client in enumerate(self._clients):
                with contextlib.suppress(OSError):
                    said[at] += client.send(words[said[at] % len(words) :])
                with contextlib.suppress(OSError):
                    self._read_bytes += len(client.recv(_SIP_BYTES))

    def _words(self) -> bytes:
        if self._how in (UNREAD, SLOW):
            return (_HEAD + b"\r\n") * _REQUESTS
        if self._how == GARBAGE:
            return self._noise.randbytes(_NOISE_BYTES)
        return b"" if self._how == MANY else _HEAD

    def is_met(self, caller: Caller) -> tuple[bool, str]:
        """Whether they are there at this call."""
        return self._has_come, f"{plural(self._read_bytes, 'byte')} of answers read slowly" if self._read_bytes else ""

    def leave(self) -> None:
        """All of them close."""
        self._leaving.set()
        if self._reader is not None:
            self._reader.join()
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._has_come = False


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each sort of crowd at each port on which a service listens."""
    if not calibration.is_service:
        return
    for path in dict.fromkeys(o.masked for o in clean.trace if _listens(o)):
        for order, how in enumerate((HALF, VANISH, GARBAGE, UNREAD, MANY, SLOW)):
            yield Candidate(
                fault=Clients(how=how, path=path), start=clean.start, rank=(order // 2 + 1, 4),
                cause=("clients", how), path=path,
            )  # fmt: skip


def _listens(operation: Operation) -> bool:
    place, _, port = operation.masked.rpartition(":")
    return operation.call == "listen" and place.startswith(tuple(_FAMILIES)) and port.isdecimal() and port != "0"


def _place(path: str) -> tuple[int, str, int]:
    """(family, host, port) of a socket as the gate calls it: `socket:inet6:[::]:80`."""
    start = next(start for start in _FAMILIES if path.startswith(start))
    host, _, port = path.removeprefix(start).rpartition(":")
    return _FAMILIES[start], host.strip("[]"), int(port)
