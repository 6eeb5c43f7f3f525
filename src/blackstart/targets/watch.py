"""What a target that does not end is doing.

`look` reads /proc and nothing else (a debugger would hang on a task that waits in the gate); `Diagnosis` is pure: it is
fed looks and marks of progress and says when enough has been seen. The rules are those of the end oracle: blocked
without a limit and without CPU for 2 s; in a wait with its own limit, that limit + 3 s; the same wait again and again
without progress, 10 rounds and 30 s; busy at >= 90 % of a CPU for 5 s; otherwise it is merely slow.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable

import msgspec

from blackstart.core.history import Wait

BLOCKED_S, BUSY_S, BUSY_SHARE = 2.0, 5.0, 0.9
LIMIT_GRACE_S, REPEAT_S, REPEAT_ROUNDS = 3.0, 30.0, 10

# Waiting calls: number -> (name, how its time limit is found). `ms:n` argument n in milliseconds; `ts:n` argument n
# points to seconds and nanoseconds (or microseconds); `none` has no limit. Source: the kernel's syscall tables.
_WAITS = {
    "x86_64": {
        0: ("read", "none"), 1: ("write", "none"), 7: ("poll", "ms:2"), 17: ("pread64", "none"), 20: ("writev", "none"),
        23: ("select", "tv:4"), 34: ("pause", "none"), 35: ("nanosleep", "ts:0"), 42: ("connect", "none"),
        43: ("accept", "none"), 45: ("recvfrom", "none"), 47: ("recvmsg", "none"), 44: ("sendto", "none"),
        61: ("wait4", "none"), 72: ("fcntl", "none"), 73: ("flock", "none"), 74: ("fsync", "none"),
        128: ("rt_sigtimedwait", "ts:2"), 130: ("rt_sigsuspend", "none"), 202: ("futex", "ts:3"),
        230: ("clock_nanosleep", "ts:2"), 232: ("epoll_wait", "ms:3"), 247: ("waitid", "none"), 257: ("openat", "none"),
        270: ("pselect6", "ts:4"), 271: ("ppoll", "ts:2"), 281: ("epoll_pwait", "ms:3"), 288: ("accept4", "none"),
        2: ("open", "none"),
    },
    "aarch64": {
        63: ("read", "none"), 64: ("write", "none"), 22: ("epoll_pwait", "ms:3"), 25: ("fcntl", "none"),
        32: ("flock", "none"), 56: ("openat", "none"), 72: ("pselect6", "ts:4"), 73: ("ppoll", "ts:2"),
        82: ("fsync", "none"), 95: ("waitid", "none"), 98: ("futex", "ts:3"), 101: ("nanosleep", "ts:0"),
        115: ("clock_nanosleep", "ts:2"), 133: ("rt_sigsuspend", "none"), 137: ("rt_sigtimedwait", "ts:2"),
        202: ("accept", "none"), 203: ("connect", "none"), 206: ("sendto", "none"), 207: ("recvfrom", "none"),
        212: ("recvmsg", "none"), 242: ("accept4", "none"), 260: ("wait4", "none"),
    },
}  # fmt: skip
_TABLE = _WAITS.get(platform.machine(), {})
_TICKS_S = os.sysconf("SC_CLK_TCK")
# A thread that waits for a child is not itself what holds the program up.
_CHILD_WAITS = frozenset(("wait4", "waitid"))
_ON_DESCRIPTOR = frozenset("read write pread64 writev fsync flock fcntl recvfrom recvmsg sendto accept accept4".split())


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a start may take: after deadline_s it is looked at; after hard_s it is ended whatever it does."""

    deadline_s: float = 5.0
    hard_s: float = 60.0

    @classmethod
    def after(cls, slowest_s: float) -> Patience:
        """max(3 x slowest clean run, 5 s), as the end oracle demands."""
        deadline_s = max(3 * slowest_s, 5.0)
        return cls(deadline_s=deadline_s, hard_s=deadline_s * 2 + REPEAT_S + 10)


class ThreadWait(msgspec.Struct, frozen=True, kw_only=True):
    """One thread: its id and state letter, the call it waits in, its limit (None: none), how often it waited."""

    thread: int
    state: str
    call: str = ""
    path: str = ""
    limit_s: float | None = None
    switches: int = 0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The whole tree at one moment: at_s, CPU seconds used so far, its threads."""

    at_s: float
    cpu_s: float
    threads: tuple[ThreadWait, ...]


def look(pids: Iterable[int], at_s: float) -> Look:
    """Read the state of all threads of these processes; those that vanish meanwhile are left out."""
    cpu_s = 0.0
    threads: list[ThreadWait] = []
    for pid in pids:
        try:
            fields = _stat(f"/proc/{pid}/stat")
            cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS_S
            for name in os.listdir(f"/proc/{pid}/task"):
                threads.append(_thread(pid, int(name)))
        except (OSError, ValueError, IndexError):
            continue
    return Look(at_s=at_s, cpu_s=cpu_s, threads=tuple(threads))


def _stat(path: str) -> list[str]:
    """The fields of a stat file after the command name (which may hold anything)."""
    with open(path, errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _thread(pid: int, thread: int) -> ThreadWait:
    base = f"/proc/{pid}/task/{thread}"
    state = _stat(f"{base}/stat")[0]
    switches = 0
    with open(f"{base}/status", errors="replace") as file:
        for line in file:
            if line.startswith("voluntary_ctxt_switches"):
                switches = int(line.split()[1])
    call, path, limit_s = "", "", None
    try:
        with open(f"{base}/syscall") as file:
            words = file.read().split()
        if words and words[0].lstrip("-").isdigit():
            call, path, limit_s = _wait(pid, int(words[0]), [int(word, 16) for word in words[1:7]])
    except OSError:
        pass
    return ThreadWait(thread=thread, state=state, call=call, path=path, limit_s=limit_s, switches=switches)


def _wait(pid: int, number: int, arguments: list[int]) -> tuple[str, str, float | None]:
    """(name, object, limit) of a call that a thread waits in."""
    name, how = _TABLE.get(number, (f"system call {number}", "none"))
    limit_s: float | None = None
    kind, _, index = how.partition(":")
    if kind == "ms":
        milliseconds = struct.unpack("i", struct.pack("I", arguments[int(index)] & 0xFFFFFFFF))[0]
        limit_s = None if milliseconds < 0 else milliseconds / 1000
    elif kind in ("ts", "tv") and arguments[int(index)]:
        limit_s = _timespec(pid, arguments[int(index)], 1e9 if kind == "ts" else 1e6)
    path = ""
    if name in _ON_DESCRIPTOR:
        try:
            path = os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
        except OSError:
            pass
    return name, path, limit_s


def _timespec(pid: int, address: int, fraction: float) -> float | None:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            seconds, part = struct.unpack("qq", memory.read(16))
    except (OSError, struct.error, OverflowError):
        return None
    # An absolute deadline (clock_nanosleep with TIMER_ABSTIME, FUTEX_WAIT_BITSET) is far from a plain duration.
    if seconds > 10_000_000:
        return 60.0
    return float(seconds + part / fraction)


class Diagnosis:
    """Says when enough has been seen of a target that is past its deadline. Pure: fed with looks and progress marks.

    feed() returns the Wait that ends the observation, or None to go on looking.
    """

    def __init__(self) -> None:
        self._first: Look | None = None
        self._window: list[tuple[Look, int]] = []
        self._still_since_s = 0.0
        self._progress = 0

    def feed(self, seen: Look, progress: int) -> Wait | None:
        """progress: any number that grows when bytes, acknowledgements or state changes are seen."""
        if self._first is None or progress != self._progress:
            self._first, self._window, self._progress = seen, [], progress
            self._still_since_s = seen.at_s
        self._window.append((seen, progress))
        return self._busy(seen) or self._blocked(seen) or self._limited(seen)

    def last(self) -> Wait:
        """What to say when the hard limit cuts the observation off."""
        if not self._window:
            return Wait(state="working")
        seen = self._window[-1][0]
        thread = self._culprit(seen)
        return Wait(
            state="working",
            call=thread.call if thread else "",
            seen_s=seen.at_s - self._window[0][0].at_s,
            cpu=self._share(self._window[0][0], seen),
        )

    @staticmethod
    def _share(earlier: Look, later: Look) -> float:
        span_s = later.at_s - earlier.at_s
        return (later.cpu_s - earlier.cpu_s) / span_s if span_s > 0 else 0.0

    @staticmethod
    def _culprit(seen: Look) -> ThreadWait | None:
        """The thread that stands for the tree: not one that waits for a child."""
        candidates = [t for t in seen.threads if t.call not in _CHILD_WAITS] or list(seen.threads)
        return candidates[0] if candidates else None

    def _since(self, seen: Look, span_s: float) -> Look | None:
        """The latest look at least span_s before this one."""
        older = [earlier for earlier, _ in self._window if seen.at_s - earlier.at_s >= span_s]
        return older[-1] if older else None

    def _busy(self, seen: Look) -> Wait | None:
        earlier = self._since(seen, BUSY_S)
        if earlier and self._share(earlier, seen) >= BUSY_SHARE:
            return Wait(state="busy", seen_s=seen.at_s - earlier.at_s, cpu=self._share(earlier, seen))
        return None

    def _blocked(self, seen: Look) -> Wait | None:
        earlier = self._since(seen, BLOCKED_S)
        waiting = [t for t in seen.threads if t.call not in _CHILD_WAITS]
        if not earlier or not waiting or self._share(earlier, seen) > 0.02:
            return None
        before = {(t.thread, t.call, t.switches) for t in earlier.threads}
        if all(t.state in "SD" and t.limit_s is None and (t.thread, t.call, t.switches) in before for t in waiting):
            culprit = waiting[0]
            return Wait(state="blocked", call=culprit.call, path=culprit.path, seen_s=seen.at_s - self._still_since_s)
        return None

    def _limited(self, seen: Look) -> Wait | None:
        assert self._first is not None
        timed = [t for t in seen.threads if t.limit_s is not None]
        if not timed:
            return None
        span_s = seen.at_s - self._first.at_s
        started = {t.thread: t.switches for t in self._first.threads}
        for thread in timed:
            rounds = thread.switches - started.get(thread.thread, thread.switches)
            assert thread.limit_s is not None
            if rounds >= REPEAT_ROUNDS and span_s >= REPEAT_S:
                return self._wait("repeating", thread, span_s, rounds)
            if rounds == 0 and span_s >= thread.limit_s + LIMIT_GRACE_S:
                return self._wait("timed", thread, span_s, rounds)
        return None

    @staticmethod
    def _wait(state: str, thread: ThreadWait, span_s: float, rounds: int) -> Wait:
        return Wait(
            state=state, call=thread.call, path=thread.path, limit_s=thread.limit_s or 0.0, seen_s=span_s, rounds=rounds
        )
