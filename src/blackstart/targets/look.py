"""What every thread of a process tree waits in, read from /proc and nothing else.

A debugger would hang on a task that waits in the gate, so nothing is stopped or attached to. What matters most is
whether a wait has a limit of its own, and when it ends: as an argument, relative or absolute; as an option of the
socket; or as an armed timer among the descriptors. What cannot be read counts as no limit, except where a call is known
to hide one.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import struct
from collections.abc import Collection, Iterable

import msgspec
from msgspec.structs import replace

from blackstart.core.clock import SYSTEM
from blackstart.gate import notify

# Waiting calls: number -> (name, how its limit is found). `ms:n` argument n in milliseconds; `ts:n`, `tv:n` argument
# n points to seconds and nanoseconds or microseconds; `futex`, `sleep` as ts, perhaps absolute; `none` has no limit of
# its own; `hidden` may have one. Source: the kernel's tables of system calls.
_WAITS = {
    "x86_64": {
        0: ("read", "none"), 1: ("write", "none"), 2: ("open", "none"), 7: ("poll", "ms:2"), 17: ("pread64", "none"),
        20: ("writev", "none"), 23: ("select", "tv:4"), 34: ("pause", "none"), 35: ("nanosleep", "ts:0"),
        42: ("connect", "none"), 43: ("accept", "none"), 44: ("sendto", "none"), 45: ("recvfrom", "none"),
        46: ("sendmsg", "none"), 47: ("recvmsg", "none"), 61: ("wait4", "none"), 72: ("fcntl", "none"),
        73: ("flock", "none"), 74: ("fsync", "none"), 75: ("fdatasync", "none"), 128: ("rt_sigtimedwait", "ts:2"),
        130: ("rt_sigsuspend", "none"), 202: ("futex", "futex:3"), 208: ("io_getevents", "ts:4"),
        219: ("restart_syscall", "hidden"), 220: ("semtimedop", "ts:3"), 230: ("clock_nanosleep", "sleep:2"),
        232: ("epoll_wait", "ms:3"), 243: ("mq_timedreceive", "hidden"), 247: ("waitid", "none"),
        257: ("openat", "none"), 270: ("pselect6", "ts:4"), 271: ("ppoll", "ts:2"), 281: ("epoll_pwait", "ms:3"),
        288: ("accept4", "none"), 299: ("recvmmsg", "ts:4"), 441: ("epoll_pwait2", "ts:3"),
        449: ("futex_waitv", "hidden"),
    },
    "aarch64": {
        4: ("io_getevents", "ts:4"), 22: ("epoll_pwait", "ms:3"), 25: ("fcntl", "none"), 32: ("flock", "none"),
        56: ("openat", "none"), 63: ("read", "none"), 64: ("write", "none"), 66: ("writev", "none"),
        67: ("pread64", "none"), 72: ("pselect6", "ts:4"), 73: ("ppoll", "ts:2"), 82: ("fsync", "none"),
        83: ("fdatasync", "none"), 95: ("waitid", "none"), 98: ("futex", "futex:3"), 101: ("nanosleep", "ts:0"),
        115: ("clock_nanosleep", "sleep:2"), 128: ("restart_syscall", "hidden"), 133: ("rt_sigsuspend", "none"),
        137: ("rt_sigtimedwait", "ts:2"), 183: ("mq_timedreceive", "hidden"), 192: ("semtimedop", "ts:3"),
        202: ("accept", "none"), 203: ("connect", "none"), 206: ("sendto", "none"), 207: ("recvfrom", "none"),
        211: ("sendmsg", "none"), 212: ("recvmsg", "none"), 242: ("accept4", "none"), 243: ("recvmmsg", "ts:4"),
        260: ("wait4", "none"), 441: ("epoll_pwait2", "ts:3"), 449: ("futex_waitv", "hidden"),
    },
}  # fmt: skip
_TABLE = _WAITS.get(platform.machine(), {})
_TICKS_S = os.sysconf("SC_CLK_TCK")
_ON_DESCRIPTOR = frozenset(
    "read write pread64 writev fsync fdatasync flock fcntl connect accept accept4 "
    "recvfrom recvmsg sendto sendmsg".split()
)
_ON_MANY = frozenset("poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 read".split())
_SENDING = frozenset("write writev sendto sendmsg connect".split())
# FUTEX_WAIT_BITSET, FUTEX_LOCK_PI, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2 take an absolute time.
_ABSOLUTE_FUTEX, _LOCK_PI, _FUTEX_REALTIME = frozenset((6, 9, 11, 13)), 6, 256
HIDDEN_S, KEPT_MAX_S = 60.0, 600.0
_RUNNABLE, _WAITING_IN_GATE = "R", "SD"


class ThreadWait(msgspec.Struct, frozen=True, kw_only=True):
    """One thread: its id and state letter, the call it waits in and on what, how often it waited so far;
    limit_s: how long this wait may still last, of a relative limit how long it lasts in all; None: for ever;
    is_gated: whether it is the gate that it waits for.
    """

    thread: int
    state: str
    call: str = ""
    path: str = ""
    limit_s: float | None = None
    switches: int = 0
    is_gated: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The whole tree at one moment: CPU seconds used, bytes written and read, ended children too; its threads."""

    at_s: float
    cpu_s: float
    threads: tuple[ThreadWait, ...]
    written_bytes: int = 0
    read_bytes: int = 0


def look(pids: Iterable[int], at_s: float) -> Look:
    """Read the state of all threads of these processes; those that vanish meanwhile are left out."""
    threads: list[ThreadWait] = []
    cpu_s, written_bytes, read_bytes = 0.0, 0, 0
    for pid in pids:
        try:
            cpu_s += sum(map(int, _stat(f"/proc/{pid}/stat")[11:15])) / _TICKS_S
            read, written = _moved(pid)
            read_bytes, written_bytes = read_bytes + read, written_bytes + written
            timer_s = _armed_timer(pid)
            seen = [_thread(pid, int(thread), timer_s) for thread in os.listdir(f"/proc/{pid}/task")]
            if any(_waits_on_many(thread) for thread in seen):
                kept_s = _kept_of_all(pid)
                seen = [replace(thread, limit_s=kept_s) if _waits_on_many(thread) else thread for thread in seen]
            threads += seen
        except (OSError, IndexError, ValueError):
            continue
    return Look(at_s=at_s, cpu_s=cpu_s, threads=tuple(threads), written_bytes=written_bytes, read_bytes=read_bytes)


def is_at_rest(earlier: Look, later: Look) -> bool:
    """Whether between two looks the same threads all waited, and none of them began another wait."""
    return not is_ready_to_run(later) and waits(earlier) == waits(later)


def is_ready_to_run(seen: Look) -> bool:
    """Whether a thread wants the processor, be it that it does not get it."""
    return any(t.state == _RUNNABLE for t in seen.threads)


def longest(seen: Look, since: Collection[tuple[int, str, int]]) -> float:
    """The longest limit of all waits that are not among those seen earlier, in seconds; 0 where none has a limit."""
    return max((t.limit_s or 0.0 for t in seen.threads if (t.thread, t.call, t.switches) not in since), default=0.0)


def waits(seen: Look) -> set[tuple[int, str, int]]:
    """Which thread waits in which call, and how often it had waited before: the same again is the same wait."""
    return {(t.thread, t.call, t.switches) for t in seen.threads}


def _stat(path: str) -> list[str]:
    """The fields of a stat file after the command name (which may hold anything)."""
    with open(path, errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _moved(pid: int) -> tuple[int, int]:
    """Bytes that its calls really read and wrote; one that fails does not count, so a loop of them is no progress."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/io") as file:
        counts = dict(line.split(": ") for line in file)
        return int(counts["rchar"]), int(counts["wchar"])
    return 0, 0


def _armed_timer(pid: int) -> float | None:
    """When the next timer among its descriptors rings, from now."""
    rings: list[float] = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError, ValueError):
                if os.readlink(f"/proc/{pid}/fd/{number}") == "anon_inode:[timerfd]":
                    rings += _rings_in(f"/proc/{pid}/fdinfo/{number}")
    return min(rings, default=None)


def _rings_in(path: str) -> list[float]:
    with open(path) as file:
        for line in file:
            if line.startswith("it_value:"):
                seconds, nanoseconds = line.partition("(")[2].rstrip(")\n").split(",")
                left_s = int(seconds) + int(nanoseconds) / 1e9
                return [left_s] if left_s > 0 else []
    return []


def _thread(pid: int, thread: int, timer_s: float | None) -> ThreadWait:
    base = f"/proc/{pid}/task/{thread}"
    state = _stat(f"{base}/stat")[0]
    switches = 0
    with open(f"{base}/status", errors="replace") as file:
        for line in file:
            if line.startswith("voluntary_ctxt_switches"):
                switches = int(line.split()[1])
    call, path, limit_s = "", "", None
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"{base}/syscall") as file:
        words = file.read().split()
        if words and words[0].isdigit():
            call, path, limit_s = _wait(pid, int(words[0]), [int(word, 16) for word in words[1:7]])
    if call in _ON_MANY and timer_s is not None:
        limit_s = timer_s if limit_s is None else min(limit_s, timer_s)
    return ThreadWait(
        thread=thread,
        state=state,
        call=call,
        path=path,
        limit_s=limit_s,
        switches=switches,
        is_gated=state in _WAITING_IN_GATE and _is_gated(base),
    )


def _is_gated(base: str) -> bool:
    """Whether the kernel says that the thread waits for an answer to its notification."""
    with contextlib.suppress(OSError), open(f"{base}/wchan") as file:
        return "seccomp" in file.read()
    return False


def _wait(pid: int, number: int, arguments: list[int]) -> tuple[str, str, float | None]:
    """(name, object, limit) of a call that a thread waits in."""
    name, how = _TABLE.get(number, (f"system call {number}", "none"))
    limit_s = HIDDEN_S if how == "hidden" else _limit(pid, how, arguments)
    path = ""
    if name in _ON_DESCRIPTOR:
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
        if path.startswith("socket:"):
            limit_s = _socket_limit(pid, arguments[0], name in _SENDING)
    return name, path, limit_s


def _limit(pid: int, how: str, arguments: list[int]) -> float | None:
    kind, _, place = how.partition(":")
    if kind == "none":
        return None
    value = arguments[int(place)]
    if kind == "ms":
        milliseconds: int = struct.unpack("i", struct.pack("I", value & 0xFFFFFFFF))[0]
        return None if milliseconds < 0 else milliseconds / 1000
    if not value:
        return None
    limit_s = _timespec(pid, value, 1e6 if kind == "tv" else 1e9)
    command = arguments[1] & 127
    if kind == "futex" and command in _ABSOLUTE_FUTEX:
        is_realtime = bool(arguments[1] & _FUTEX_REALTIME) or command == _LOCK_PI
        return _remaining(pid, limit_s, is_realtime)
    if kind == "sleep" and arguments[1] & 1:  # TIMER_ABSTIME, with the clock in argument 0
        return _remaining(pid, limit_s, arguments[0] == 0)
    return limit_s


def _timespec(pid: int, address: int, fraction: float) -> float | None:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            seconds, part = struct.unpack("qq", memory.read(16))
    except (OSError, struct.error, OverflowError):
        return None
    return float(seconds + part / fraction)


def _remaining(pid: int, deadline_s: float | None, is_realtime: bool) -> float | None:
    if deadline_s is None:
        return None
    return max(0.0, deadline_s - (SYSTEM.now() if is_realtime else SYSTEM.monotonic() + _ahead_s(pid)))


def _ahead_s(pid: int) -> float:
    """How far the process's monotonic clock is ahead of ours: it may have a time namespace of its own."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/timens_offsets") as file:
        return float(file.readline().split()[1])
    return 0.0


def _socket_limit(pid: int, number: int, sends: bool) -> float | None:
    """SO_SNDTIMEO or SO_RCVTIMEO of a socket, or how long TCP keeps it alive; None where it has none or cannot be
    borrowed."""
    try:
        with socket.socket(fileno=notify.borrow_descriptor(pid, number)) as borrowed:
            option = socket.SO_SNDTIMEO if sends else socket.SO_RCVTIMEO
            seconds, microseconds = struct.unpack("qq", borrowed.getsockopt(socket.SOL_SOCKET, option, 16))
            return float(seconds + microseconds / 1e6) or (None if sends else _kept_alive_s(borrowed))
    except (OSError, struct.error):
        return None


def _waits_on_many(thread: ThreadWait) -> bool:
    """Whether it waits without a limit for any of several descriptors."""
    return thread.limit_s is None and thread.call in _ON_MANY and thread.call != "read"


def _kept_of_all(pid: int) -> float | None:
    """The shortest time for which TCP keeps one of this process's connections alive; None where it keeps none."""
    found: list[float] = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                    with socket.socket(fileno=notify.borrow_descriptor(pid, int(number))) as borrowed:
                        borrowed.getpeername()  # who listens has no peer, and nothing to be kept alive
                        found += [kept_s] if (kept_s := _kept_alive_s(borrowed)) is not None else []
    return min(found, default=None)


def _kept_alive_s(reading: socket.socket) -> float | None:
    """How long TCP lets a reader wait for a peer that no longer answers its probes; None where it does not probe, or
    so seldom that nobody counts on it (the kernel's own default is two hours).

    Never less than what may hide a limit: a peer of ours that says nothing answers probes all the same.
    """
    if reading.family not in (socket.AF_INET, socket.AF_INET6) or reading.type != socket.SOCK_STREAM:
        return None
    if not reading.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return None
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    idle_s, interval_s, count, most_ms = (reading.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    ends_s = max(idle_s + interval_s, most_ms / 1000) if most_ms else idle_s + interval_s * count
    return max(float(ends_s), HIDDEN_S) if ends_s <= KEPT_MAX_S else None
