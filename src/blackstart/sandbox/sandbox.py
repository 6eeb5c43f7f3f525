"""One sandbox as its owner sees it: start, watch, kill the whole tree, start again in the same namespaces.

Two sockets lead to its process 1: orders with answers, and events. Nothing here waits for ever: building has a
deadline, killing has one, and when process 1 is gone everything in its namespaces is.
"""

from __future__ import annotations

import array
import contextlib
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from blackstart.core.errors import SandboxLimit, SandboxUnavailable, TargetError
from blackstart.sandbox import census, wire
from blackstart.sandbox.descent import children, descendants
from blackstart.sandbox.hindrance import trouble
from blackstart.sandbox.layout import Change, Ended, ProcessInfo, Started

if TYPE_CHECKING:
    from blackstart.sandbox.zygote import Zygote

READY_LIMIT_S = 30.0
START_LIMIT_S = 20.0
KILL_LIMIT_S = 20.0
_PASSCRED = 16
# Whoever forks while it is being killed is met in the next round.
_ROUNDS_MAX = 20


class Resident(Protocol):
    """What lives beside the target as long as the sandbox; numbers: of the starts that belong to it."""

    numbers: list[int]

    def close(self) -> None: ...


class Joint(Protocol):
    """What joins the second network with the target's, so that the programs there seem to be where they are not."""

    def reach(self, ports: Collection[tuple[str, int]]) -> None:
        """From now on what listens there on these (protocol, port) is reached from the target's loopback."""

    def counts(self) -> Mapping[str, int]:
        """Packets between the two by what faults did to them, since the beginning."""

    def close(self) -> None: ...


class Sandbox:
    """Made by `Zygote.sandbox`; a context manager. residents, and the joint where there is one: closed with it;
    uptime_s: so much longer than it really is, the machine has been up for what is started as the target from now on.
    """

    def __init__(self, zygote: Zygote, image: str, pid1: int, orders: socket.socket, events: socket.socket) -> None:
        self.image = image
        self.pid1 = pid1
        self._zygote = zygote
        self._orders, self._events = orders, events
        self._ready = False
        self._inhabited = False
        self._closed = False
        self._number = self._main = 0
        self._pid = 0
        self._spare = 0
        self.residents: list[Resident] = []
        self._keeper_of: dict[int, int] = {}
        self._ended_beside: dict[int, int] = {}
        self.joint: Joint | None = None
        self.uptime_s = 0
        self._lock = threading.RLock()  # what lives beside the target may ask for sockets in a thread of its own
        try:
            self._pidfd = os.pidfd_open(pid1)
        except ProcessLookupError:
            self._pidfd = -1

    def wait_ready(self) -> None:
        """Wait until the tree is built; `start` does it too."""
        if self._ready:
            return
        answer = self._receive(READY_LIMIT_S)
        if "ready" not in answer:
            self.close()
            if "trace" in answer and "Displaced" not in answer["error"]:
                raise AssertionError(answer["trace"])
            raise SandboxLimit(f"the sandbox could not be built: {answer['error']}")
        self._ready = True

    def make_spare(self) -> None:
        """Have a process wait just before the program's start."""
        self.wait_ready()
        self._spare = int(self._order("spare")["pid"])

    def _receive(self, deadline_s: float) -> wire.Message:
        return self._receive_all(deadline_s)[0]

    def _receive_all(self, deadline_s: float) -> tuple[wire.Message, list[int]]:
        """Who answers late is closed: the answer would be taken for that to the next order."""
        try:
            return wire.receive(self._orders, deadline_s)
        except (wire.Closed, wire.Late) as error:
            self.close()
            how = "did not answer" if isinstance(error, wire.Late) else "ended"
            raise SandboxUnavailable(
                f"process 1 of the sandbox {how}", next_step="look whether memory is short; then try again"
            ) from None

    def _send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        try:
            wire.send(self._orders, message, descriptors)
        except (wire.Closed, OSError):  # OSError: closed by ourselves
            raise SandboxUnavailable("the sandbox is closed") from None

    def _order(self, do: str, *descriptors: int, deadline_s: float = START_LIMIT_S, **more: Any) -> wire.Message:
        with self._lock:
            self.wait_ready()
            self._send({"do": do, **more}, descriptors)
            answer = self._receive(deadline_s)
        if "error" in answer:
            raise SandboxUnavailable(f"the sandbox could not {do}: {answer['error']}")
        return answer

    def start(
        self,
        argv: Sequence[bytes | str],
        *,
        env: Mapping[Any, Any],
        cwd: str | bytes | None = None,
        stdin: int,
        stdout: int,
        stderr: int,
        filter: bytes | None = None,
        drop_capabilities: Sequence[str] = (),
        limits: Mapping[str, int] = {},
        beside: bool = False,
        apart: bool = False,
    ) -> Started:
        """Start a program; returns once it runs, or once it waits in the gate before that.

        beside: it is none of the target's: `kill` can spare it, and `ended_beside` tells its end; apart: it lives in
        the second of `networks`.
        stdin, stdout, stderr: pipes, sockets, or devices such as null (opened anew inside); stdin may be a regular
        file (a sealed copy is handed over). argv and env may hold any bytes; limits are named as in `resource` without
        RLIMIT_ ("nofile", ...); filter is an array of struct sock_filter, with which the answer carries the listener.
        """
        self._number += 1
        self._inhabited = True
        control, theirs = socket.socketpair()
        control.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)
        order = {**self._program(argv, env, cwd), "number": self._number, "apart": apart}
        if not beside:
            order["uptime_s"] = self.uptime_s
        order |= {"filter": filter.hex() if filter else "", "drop": list(drop_capabilities), "limits": dict(limits)}
        with control, theirs:
            order["streams"], streams, made = self._zygote.streams.safe((stdin, stdout, stderr))
            try:
                self._zygote.activate(self.image)
                answer = self._order("beside" if beside else "start", *streams, theirs.fileno(), **order)
            finally:
                for descriptor in made:
                    os.close(descriptor)
            theirs.close()
            if beside:
                self._keeper_of[self._number] = next(iter(census.outside(self.pid1, int(answer["pid"]))), 0)
            else:
                self._main, self._spare = self._number, 0
            started = _follow(control, filter is not None, os.fsdecode(order["argv"][0]))
        self._pid = self._pid if beside else started.pid
        return msgspec.structs.replace(started, number=self._number)

    def _program(self, argv: Sequence[bytes | str], env: Mapping[Any, Any], cwd: str | bytes | None) -> dict[str, Any]:
        """What is started, and where, as an order says it."""
        places = self._zygote.places
        return {
            "argv": [places.rewritten(wire.text(a)) for a in argv],
            "env": places.environment({wire.text(k): wire.text(v) for k, v in env.items()}),
            "cwd": places.rewritten(wire.text(self._zygote.layout.cwd if cwd is None else cwd)),
            "writable": places.writable,
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "umask": self._zygote.layout.umask,
        }

    def fileno(self) -> int:
        """Readable when an event waits (or the sandbox is gone)."""
        return self._events.fileno()

    def event(self, timeout_s: float = 0.0) -> Ended | None:
        """The end of the main process, once; None if it runs."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                message, _ = wire.receive(self._events, max(0.0, end - time.monotonic()))
            except wire.Late:
                return None
            except (wire.Closed, OSError):
                return None
            self._ended_beside[message["number"]] = message["status"]
            if message["number"] == self._main:
                return Ended(pid=self._pid, status=message["status"])

    def ended_beside(self, number: int) -> int | None:
        """How the program of that start ended, as wait gives it; None while it runs. Known once `event` was asked."""
        return self._ended_beside.get(number)

    def new_socket(self, family: int, kind: int = socket.SOCK_STREAM, *, apart: bool = False) -> socket.socket:
        """A socket of the sandbox's own network, not connected yet: with it we reach the target from outside.

        apart: of its second network, in which what was started apart lives.
        """
        with self._lock:
            self.wait_ready()
            self._send({"do": "socket", "family": family, "type": kind, "apart": apart})
            message, descriptors = self._receive_all(START_LIMIT_S)
        if not descriptors:
            raise SandboxUnavailable(f"the sandbox could not make a socket: {message.get('error', '')}")
        return socket.socket(fileno=descriptors[0])

    def networks(self) -> tuple[int, int, int]:
        """Descriptors, the caller's to close: of the user namespace that owns the networks, of the target's network,
        and of a second one that has a loopback of its own and no way out."""
        with self._lock:
            self.wait_ready()
            self._send({"do": "networks"})
            message, descriptors = self._receive_all(START_LIMIT_S)
        if len(descriptors) != 3:
            raise SandboxUnavailable(f"the sandbox has no second network: {message.get('error', '')}")
        return descriptors[0], descriptors[1], descriptors[2]

    def beside_pid(self, number: int) -> int:
        """A process that stays in the network of the program of that start as long as anything of it lives."""
        return self._keeper_of[number]

    def lives_beside(self, number: int) -> bool:
        """Whether anything of the program of that start beside the target is left."""
        return not self._closed and self._keeper_of.get(number, 0) in children(self.pid1)

    def kill(self, spared: Collection[int] = ()) -> None:
        """SIGKILL to everything inside but residents, collected; the namespaces stay for another `start`.

        spared: numbers of other starts beside the target that go on.
        """
        if self._closed:
            return
        spared = [*spared, *(number for resident in self.residents for number in resident.numbers)]
        answer = self._order("kill", deadline_s=KILL_LIMIT_S, spares=spared)
        self._spare = 0
        self._inhabited = bool(spared) or bool(answer["left"])
        if answer["left"]:
            raise SandboxUnavailable(
                "a process of the target cannot be killed: it waits in the kernel", next_step="try again"
            )

    def kill_beside(self, number: int) -> None:
        """SIGKILL to what is left of the program of that start beside the target.

        Asked of its keeper: its own process ids may be somebody else's once it has ended.
        """
        for _ in range(_ROUNDS_MAX):
            left = descendants(self._keeper_of[number]) if self.lives_beside(number) else []
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def advance_pids(self, count: int = 500) -> bool:
        """Skip process ids, so that a stale pid file cannot look alive by accident; False where that is refused."""
        return bool(self._order("advance", count=count)["advanced"])

    def census(self) -> list[ProcessInfo]:
        """All living processes of the target."""
        keepers = self._keeper_of.values()
        return [] if self._closed else census.processes(self.pid1, without=self._spare, keepers=keepers)

    def changes(self) -> list[Change]:
        """What the target changed outside the copies; works after its end too."""
        return self._zygote.changes(self.image)

    def trouble(self, changed: Iterable[str] = (), renamed: Iterable[str] = ()) -> str:
        """What the sandbox, not the system, refused or could have refused; '' if nothing.

        changed, renamed: paths that the target tried to change or move, as its trace gives them.
        """
        return trouble(self._zygote, self.image, changed, renamed)

    def close(self) -> None:
        """End everything inside, process 1 too; where nothing but that is left, its end is not waited for."""
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as closing:  # whichever of them fails or is interrupted, the rest ends too
            closing.callback(self._end)
            if self.joint is not None:
                closing.callback(self.joint.close)
            for resident in self.residents:
                closing.callback(resident.close)

    def _end(self) -> None:
        self._orders.close()
        self._events.close()
        if self._pidfd < 0:
            return
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if self._zygote.places.writable:
            poll.poll(KILL_LIMIT_S * 1000)  # no namespace ends with it: it ends its tree itself, then goes
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._inhabited:
            poll.poll(KILL_LIMIT_S * 1000)
        os.close(self._pidfd)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _follow(control: socket.socket, gated: bool, program: str) -> Started:
    """What the launcher says until it has become the program, or waits for the gate to answer."""
    pid, listener = 0, None
    end = time.monotonic() + START_LIMIT_S
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        found = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        if not found:
            raise SandboxUnavailable("the target did not start in time", next_step="look whether the machine hangs")
        if not any(descriptor == control.fileno() for descriptor, _ in found):
            return Started(pid=pid, listener=listener)  # a call waits in the gate: the caller must serve it
        data, ancillary, _, _ = control.recvmsg(4096, 1024, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                listener = array.array("i", payload[:4])[0]
                poll.register(listener, select.POLLIN)
            elif (level, kind) == (socket.SOL_SOCKET, 2) and data:
                pid = struct.unpack("3i", payload[:12])[0]
        if b"E" in data:
            if listener is not None:
                os.close(listener)
            _refuse(program, data[data.index(b"E") + 1 :].decode("utf-8", "replace"))
        if not data:
            if gated and listener is None:
                raise SandboxUnavailable("the gate could not be installed in the target")
            return Started(pid=pid, listener=listener)


def _refuse(program: str, report: str) -> None:
    number, _, text = report.partition(":")
    if "seccomp" in text:
        raise SandboxUnavailable(
            f"this machine refuses the filter of system calls: {text}",
            next_step="run `blackstart doctor`: it says what refuses it; a container may need another seccomp profile",
        )
    next_step = {
        "2": "look for a spelling mistake, or give the program's full path",
        "13": "make it executable (chmod +x), or name its interpreter",
        "8": "it needs a first line such as #!/bin/sh, or name its interpreter",
    }.get(number, "")
    raise TargetError(f"{program!r} cannot be started: {text}", next_step=next_step)
