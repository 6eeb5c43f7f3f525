"""Process 1 of a sandbox: builds the tree, starts the target on order, reaps, kills, reports.

It never runs the target itself: process 1 ignores signals that it does not handle, which no real program expects.
Everything in the namespace ends with it, and it ends with the helper that made it. Orders and events travel on two
sockets, so that an event cannot be mistaken for an answer and waits in the kernel until somebody asks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import time
import traceback
from typing import Any, NoReturn

from blackstart.sandbox import beside, kernel, launcher, wire
from blackstart.sandbox.descent import descendants

KILL_LIMIT_S = 15.0
_SIOCSIFFLAGS = 0x8914
_NETWORK = "/proc/self/ns/net"


class Server:
    """Serves one sandbox until its orders end."""

    def __init__(self, orders: socket.socket, events: socket.socket, last_pid: int) -> None:
        self._orders, self._events = orders, events
        self._last_pid = last_pid
        self._main = 0
        self._number = 0
        self._spare: tuple[int, socket.socket] | None = None
        self._apart = -1  # the network of what is started apart from the target; made when it is first asked for
        # By process id: the number of the program beside the target that it keeps.
        self._keepers: dict[int, int] = {}
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakeup = reading
        # One for all that is ever started here: what a killed run left there, a restart finds, as after a real kill.
        with contextlib.suppress(OSError):
            kernel.join_new_session_keyring()

    def serve(self) -> None:
        """Answer orders until the other side is gone."""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wakeup:
                    self._reap()
                else:
                    self._answer()

    def _answer(self) -> None:
        message, descriptors = wire.receive(self._orders)
        handed: list[int] = []
        try:
            if message["do"] == "start":
                answer = self._start(message, descriptors)
            elif message["do"] == "beside":
                answer = self._start_beside(message, descriptors)
            elif message["do"] == "socket":
                handed.append(self._make_socket(message["family"], message["type"], apart=message["apart"]))
                answer = {}
            elif message["do"] == "networks":
                handed += self._networks()
                answer = {}
            elif message["do"] == "spare":
                answer = self._prepare()
            elif message["do"] == "kill":
                answer = self._kill_but(message["spares"]) if message["spares"] else self._kill()
            else:
                answer = self._advance(message["count"])
        except OSError as error:
            answer = {"errno": error.errno, "error": str(error)}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        wire.send(self._orders, answer, handed)
        for descriptor in handed:
            os.close(descriptor)

    def _prepare(self) -> dict[str, Any]:
        if self._spare is None:
            ours, theirs = socket.socketpair()
            child = os.fork()
            if child == 0:
                _wait_for_order(theirs)
            theirs.close()
            self._spare = (child, ours)
        return {"pid": self._spare[0]}

    def _start(self, order: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        self._number = order["number"]
        if self._spare is not None:
            child, channel = self._spare
            self._spare = None
            wire.send(channel, order, descriptors)
            channel.close()
        else:
            child = os.fork()
            if child == 0:
                _launch(order, descriptors)
        self._main = child
        return {"pid": child}

    def _start_beside(self, order: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        network = self._network_apart() if order["apart"] else -1
        keeper = os.fork()
        if keeper == 0:
            beside.keep(order, descriptors, self._events, network)
        self._keepers[keeper] = order["number"]
        return {"pid": keeper}

    def _networks(self) -> list[int]:
        """Descriptors of the user namespace, of the target's network and of a second one, made when first asked for."""
        user, own = (os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
        return [user, own, os.dup(self._network_apart())]

    def _network_apart(self) -> int:
        """The second network of this sandbox: a descriptor of its namespace."""
        if self._apart < 0:
            own = os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
            try:
                kernel.unshare(kernel.NEWNET)
                bring_up_loopback()
                self._apart = os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                kernel.enter_namespace(own, kernel.NEWNET)
                os.close(own)
        return self._apart

    def _make_socket(self, family: int, kind: int, *, apart: bool) -> int:
        """A socket stays in the network in which it was made."""
        if not apart:
            return socket.socket(family, kind | socket.SOCK_CLOEXEC).detach()
        there, own = self._network_apart(), os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.enter_namespace(there, kernel.NEWNET)
            return socket.socket(family, kind | socket.SOCK_CLOEXEC).detach()
        finally:
            kernel.enter_namespace(own, kernel.NEWNET)
            os.close(own)

    def _reap(self) -> bool:
        """Collect the dead; False when there is nobody left, dead or alive."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._keepers.pop(pid, None)
            if pid == self._main:
                self._main = 0
                wire.send(self._events, {"number": self._number, "status": status})

    def _kill(self) -> dict[str, Any]:
        """End everything but this process; whoever forks meanwhile is met in the next round."""
        self._dismiss_spare()
        end = time.monotonic() + KILL_LIMIT_S
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            if not self._reap():
                return {"left": 0}
            if time.monotonic() > end:
                return {"left": 1}
            self._pause(50)

    def _kill_but(self, spared: list[int]) -> dict[str, Any]:
        """End everything but this process and the programs beside the target with these numbers."""
        self._dismiss_spare()
        kept = {keeper for keeper, number in self._keepers.items() if number in spared}
        end = time.monotonic() + KILL_LIMIT_S
        while True:
            living = descendants(os.getpid(), kept)
            if not living:
                return {"left": 0}
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            if time.monotonic() > end:
                return {"left": 1}
            self._pause(10)

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            self._spare[1].close()
            self._spare = None

    def _pause(self, limit_ms: int) -> None:
        """Until a child ended, at most so long."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.poll(limit_ms)

    def _advance(self, count: int) -> dict[str, Any]:
        if self._last_pid < 0:
            return {"advanced": 0}
        now = int(os.pread(self._last_pid, 32, 0))
        try:
            os.pwrite(self._last_pid, str(now + count).encode(), 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Beyond the highest there is: from the lowest on again, as the kernel itself does.
            os.pwrite(self._last_pid, str(count).encode(), 0)
        return {"advanced": count}


def _launch(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    try:
        launcher.settle()
        launcher.launch(order, descriptors)
    finally:
        os._exit(127)


def _wait_for_order(channel: socket.socket) -> NoReturn:
    try:
        launcher.settle()
        order, descriptors = wire.receive(channel)
        launcher.launch(order, descriptors)
    finally:
        os._exit(127)


def bring_up_loopback() -> None:
    """The sandbox's own lo interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", 1 | 64))


def run(orders: socket.socket, events: socket.socket, build: Any) -> NoReturn:
    """What process 1 does; `build` makes the world and returns the descriptor of the last pid."""
    try:
        last_pid = build()
        wire.send(orders, {"ready": True})
        Server(orders, events, last_pid).serve()
    except wire.Closed:
        pass
    except OSError as error:
        _say(orders, {"errno": error.errno or errno.EIO, "error": str(error)})
    except BaseException as error:
        _say(orders, {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
    finally:
        os._exit(0)


def _say(orders: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(Exception):
        wire.send(orders, message)
