"""What every thread of a process tree waits in, read from /proc and nothing else.

A debugger would hang on a task that waits in the gate, so nothing is stopped or attached to. What matters most is
whether a wait has a limit of its own, and when it ends: as an argument, relative or absolute; as an option of the
socket; as an armed timer among the descriptors; or as the time after which TCP itself gives the connection up. What
cannot be read counts as no limit, except where a call is known to hide one.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import socket
import struct
from collections.abc import Collection, Iterable
from typing import NamedTuple

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
# With nothing to do and no timer set, Go's runtime lets its monitor sleep for half of the two minutes between forced
# collections: FUTEX_WAIT with a relative 60 s, to the nanosecond. What C libraries wait for has an absolute end, or a
# rest of one.
_FUTEX_WAIT, _MONITOR_S = 0, 60.0
# How TCP_INFO calls a connection whose SYN has no answer yet, and where in it the segments stand that have none; a SYN
# is sent again after 1 s, 2 s, 4 s ... and at most two minutes (include/uapi/linux/tcp.h, TCP_RTO_MAX).
_SYN_SENT, _UNACKED_AT, _RESEND_MAX_S = 2, 24, 120
_RUNNABLE, _AT_WORK, _WAITING_IN_GATE = "R", "RD", "SD"


class ThreadWait(msgspec.Struct, frozen=True, kw_only=True):
    """One thread: its id and state letter, the call it waits in and on what, how often it waited so far;
    limit_s: how long this wait may still last, of a relative limit how long it lasts in all; None: for ever;
    is_kept: whether TCP gives its connection up once the peer's machine is gone, which one that is merely silent puts
    off; is_gated: whether it is the gate that it waits for; is_monitor: whether it is a language runtime's own monitor,
    which wakes nobody.
    """

    thread: int
    state: str
    call: str = ""
    path: str = ""
    limit_s: float | None = None
    switches: int = 0
    is_kept: bool = False
    is_gated: bool = False
    is_monitor: bool = False


class _Limit(NamedTuple):
    """When TCP, or an option of the socket, ends a wait; is_kept: as ThreadWait has it."""

    seconds: float | None
    is_kept: bool


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
                limit = _limit_of_all(pid)
                seen = [_limited(thread, limit) if _waits_on_many(thread) else thread for thread in seen]
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


def is_at_work(seen: Look) -> bool:
    """Whether a thread wants the processor, waits for a disk, or is in a call that the gate has stopped."""
    return any(t.state in _AT_WORK or t.is_gated for t in seen.threads)


def longest(seen: Look, since: Collection[tuple[int, str, int]]) -> float:
    """The longest limit of all waits that are not among those seen earlier, in seconds; 0 where none has a limit."""
    new = (t for t in seen.threads if not t.is_monitor and (t.thread, t.call, t.switches) not in since)
    return max((t.limit_s or 0.0 for t in new), default=0.0)


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
    call, path, limit = "", "", _Limit(None, False)
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"{base}/syscall") as file:
        words = file.read().split()
        if words and words[0].isdigit():
            call, path, limit = _wait(pid, int(words[0]), [int(word, 16) for word in words[1:7]])
    is_monitor = call == "futex" and limit.seconds == _MONITOR_S and int(words[2], 16) & 127 == _FUTEX_WAIT
    limit_s = limit.seconds
    if call in _ON_MANY and timer_s is not None:
        limit_s = timer_s if limit_s is None else min(limit_s, timer_s)
    return ThreadWait(
        thread=thread,
        state=state,
        call=call,
        path=path,
        limit_s=limit_s,
        switches=switches,
        is_kept=limit.is_kept,
        is_gated=state in _WAITING_IN_GATE and _is_gated(base),
        is_monitor=is_monitor,
    )


def _is_gated(base: str) -> bool:
    """Whether the kernel says that the thread waits for an answer to its notification."""
    with contextlib.suppress(OSError), open(f"{base}/wchan") as file:
        return "seccomp" in file.read()
    return False


def _wait(pid: int, number: int, arguments: list[int]) -> tuple[str, str, _Limit]:
    """(name, object, limit) of a call that a thread waits in."""
    name, how = _TABLE.get(number, (f"system call {number}", "none"))
    limit = _Limit(HIDDEN_S if how == "hidden" else _limit(pid, how, arguments), False)
    path = ""
    if name in _ON_DESCRIPTOR:
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
        if path.startswith("socket:"):
            limit = _socket_limit(pid, arguments[0], name in _SENDING)
    return name, path, limit


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


def _socket_limit(pid: int, number: int, sends: bool) -> _Limit:
    """SO_SNDTIMEO or SO_RCVTIMEO of a socket, or when TCP gives it up; no limit where it cannot be borrowed."""
    try:
        with socket.socket(fileno=notify.borrow_descriptor(pid, number)) as borrowed:
            option = socket.SO_SNDTIMEO if sends else socket.SO_RCVTIMEO
            seconds, microseconds = struct.unpack("qq", borrowed.getsockopt(socket.SOL_SOCKET, option, 16))
            given_up = _given_up(borrowed)
            return _Limit(float(seconds + microseconds / 1e6) or given_up.seconds, given_up.is_kept)
    except (OSError, struct.error):
        return _Limit(None, False)


def _waits_on_many(thread: ThreadWait) -> bool:
    """Whether it waits for any of several descriptors."""
    return thread.call in _ON_MANY and thread.call != "read"


def _limited(thread: ThreadWait, limit: _Limit) -> ThreadWait:
    """What TCP does to the connections it may wait for; a limit of its own is shorter, or that of the next round."""
    return replace(
        thread, limit_s=limit.seconds if thread.limit_s is None else thread.limit_s, is_kept=limit.is_kept
    )  # fmt: skip


def _limit_of_all(pid: int) -> _Limit:
    """When TCP first gives one of this process's connections up, and whether it watches over any."""
    found: list[_Limit] = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                    with socket.socket(fileno=notify.borrow_descriptor(pid, int(number))) as borrowed:
                        found.append(_given_up(borrowed))
    return _Limit(min((s for s, _ in found if s is not None), default=None), any(is_kept for _, is_kept in found))


def _given_up(connection: socket.socket) -> _Limit:
    """When TCP gives this connection up by itself: while nobody answers its SYN; once its probes, or what was sent,
    have no answer. No limit where that takes so long that nobody counts on it (probes begin after two hours, if nothing
    else is asked for), and where nothing is connected.
    """
    nothing = _Limit(None, False)
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return nothing
    with contextlib.suppress(OSError):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
        most_s = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000
        if info[0] == _SYN_SENT:
            tries = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT)
            resent_s = float(sum(min(2**turn, _RESEND_MAX_S) for turn in range(tries + 1)))
            return _Limit(min(resent_s, most_s or resent_s), False)
        connection.getpeername()  # who listens has no peer, and nothing to be kept alive
        is_owed = struct.unpack_from("I", info, _UNACKED_AT)[0] > 0
        kept_s = min(most_s if most_s and is_owed else math.inf, _probed_s(connection, most_s))
        return _Limit(kept_s, True) if kept_s <= KEPT_MAX_S else nothing
    return nothing


def _probed_s(connection: socket.socket, most_s: float) -> float:
    """After how long probes without an answer end it. most_s: a time in all replaces their number, and is looked at
    when one is due.
    """
    if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return math.inf
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    idle_s, interval_s, probes = (connection.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    rounds = max(1, math.ceil((most_s - idle_s) / interval_s)) if most_s else probes
    return float(idle_s + interval_s * rounds)
