"""Tries what a sandbox needs, in a process of its own that does nothing else, and prints what the kernel said.

Each attempt runs in a child, so that one cannot spoil the next; `machine` starts this module with the interpreter's
isolated mode and reads its output. An attempt that works answers "", else the refusal.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from blackstart.sandbox import init, kernel

ATTEMPT_LIMIT_S = 10.0
_ALLOW_ALL = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
_SET_FLAGS = 0x40082104


def _attempt(act: Callable[[], str | None]) -> str:
    """Run in a child; what it returned, or the error it met."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = act() or ""
        except OSError as error:
            said = str(error)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    poll = select.poll()
    poll.register(reading, select.POLLIN | select.POLLHUP)
    answer = b"no answer in time"
    if poll.poll(ATTEMPT_LIMIT_S * 1000):
        answer = os.read(reading, 4096)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    if not answer and os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return f"ended by signal {os.WTERMSIG(status)}"
    return answer.decode()


def _enter(more: int = 0) -> None:
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEWUSER | kernel.NEWNS | more)
    kernel.write_setting("/proc/self/setgroups", b"deny")
    kernel.write_setting("/proc/self/gid_map", f"{group} {group} 1".encode())
    kernel.write_setting("/proc/self/uid_map", f"{user} {user} 1".encode())
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)


def _memory(place: str) -> None:
    kernel.mount("memory", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=1m")


def _user_namespace() -> None:
    _enter()
    _memory("/tmp")


def _overlay() -> None:
    _enter()
    _memory("/tmp")
    for name in ("upper", "scratch", "merged"):
        os.mkdir(f"/tmp/{name}")
    options = "lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/scratch,userxattr"
    kernel.mount("overlay", "/tmp/merged", "overlay", 0, options)
    if os.listdir("/usr") != os.listdir("/tmp/merged"):
        raise OSError(5, "an overlay shows something else than its lower directory")


def _attributes() -> None:
    _enter()
    _memory("/tmp")
    with open("/tmp/file", "w"):
        pass
    os.setxattr("/tmp/file", "user.test", b"1")


def _pid_namespace() -> str | None:
    _enter()
    child = kernel.fork_into(kernel.NEWPID | kernel.NEWNS)
    if child == 0:
        try:
            kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
            os._exit(0 if os.getpid() == 1 else 1)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.strerror(code) if code else None


def _network() -> None:
    _enter(kernel.NEWNET)
    init.bring_up_loopback()
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.settimeout(2)
        client.connect(server.getsockname())


def _other_namespaces() -> None:
    _enter(kernel.NEWIPC | kernel.NEWUTS)
    socket.sethostname("probe")


def _listener() -> str:
    kernel.prctl(kernel.NO_NEW_PRIVS, 1)
    try:
        return f"+{_with_flags(kernel.FILTER_NEW_LISTENER | kernel.FILTER_WAIT_KILLABLE)}killable"
    except OSError as error:
        if error.errno != 22:
            raise
    return f"+{_with_flags(kernel.FILTER_NEW_LISTENER)}"


def _with_flags(flags: int) -> str:
    listener = kernel.install_filter(_ALLOW_ALL, flags)
    try:
        fcntl.ioctl(listener, _SET_FLAGS, 1)
    except OSError:
        return ""
    return "synchronous "


def _memory_of_children() -> None:
    word = ctypes.c_long(4711)
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:
            memory.seek(ctypes.addressof(word))
            if struct.unpack("l", memory.read(ctypes.sizeof(word)))[0] != 4711:
                raise OSError(5, "the memory of a child reads wrong")
    finally:
        os.kill(child, signal.SIGKILL)


def _landlock() -> str:
    version = kernel.landlock_version()
    memory = os.memfd_create("probe")
    try:
        os.utime(memory)
    except OSError:
        return "times of files cannot be changed: this is already a sandbox of this kind"
    return f"+{version}"


ATTEMPTS: dict[str, Callable[[], str | None]] = {
    "user namespace": _user_namespace,
    "overlay": _overlay,
    "attributes in memory": _attributes,
    "pid namespace": _pid_namespace,
    "network namespace": _network,
    "other namespaces": _other_namespaces,
    "listener": _listener,
    "memory of children": _memory_of_children,
    "landlock": _landlock,
}


def main(arguments: list[str]) -> None:
    """Print all answers as JSON; names limit what is tried."""
    wanted = arguments or list(ATTEMPTS)
    answers: dict[str, Any] = {name: _attempt(ATTEMPTS[name]) for name in wanted}
    sys.stdout.write(json.dumps(answers))
