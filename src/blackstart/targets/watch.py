"""Says what a target that is past its deadline is doing, once enough has been seen of it. Pure.

It is fed looks and a mark of progress. The rules are those of the end oracle: blocked without a limit and without CPU
for 2 s; in a wait with its own limit, that limit + 3 s; the same wait again and again without progress, 10 rounds and
30 s (longer where that is to be confirmed), none of which counts while TCP watches over the connection; busy at 90 %
of a CPU for 5 s, or making the call that the fault is in again and again meanwhile without ever resting; otherwise
merely slow. A wait is told from the next one of the same thread by how often that thread has waited, so a loop of short
waits is never taken for one long one.
"""

from __future__ import annotations

import math

import msgspec

from blackstart.core.history import Wait
from blackstart.core.waiting import (
    BLOCKED,
    BLOCKED_S,
    BUSY,
    BUSY_S,
    BUSY_SHARE,
    KEPT,
    LIMIT_GRACE_S,
    REPEATING,
    ROUNDS,
    TIMED,
    WORKING,
)
from blackstart.targets.look import Look, ThreadWait

# Who takes no more of a CPU does nothing.
QUIET_SHARE = 0.02
# So often within BUSY_S, and seen at it so often, whoever waits for the gate again and again does nothing else.
TURNS_MIN, LOOKS_MIN = 100, 8
# How long the same wait must repeat; and where it is known that waits do in this target.
REPEAT_S, FOREWARNED_S = 30.0, 5.0

# A thread that waits for a child is not itself what holds the program up.
_CHILD_WAITS = frozenset(("wait4", "waitid"))
_WAITING = frozenset("SDTt")


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a start may take: after deadline_s it is looked at; after hard_s it is ended whatever it does.

    repeat_s: how long the same wait may repeat without progress before the observation ends.
    Of a service, deadline_s is the time to get ready, and work_s that of its workload. orphans_s: how long processes
    that a job leaves behind are given to end.
    """

    deadline_s: float = 5.0
    hard_s: float = 60.0
    repeat_s: float = REPEAT_S
    work_s: float = 60.0
    orphans_s: float = 0.0

    @classmethod
    def after(cls, slowest_s: float, work_s: float = 0.0) -> Patience:
        """max(3 x slowest clean run, 5 s), as the end oracle demands; work_s: of the slowest clean workload."""
        deadline_s = max(3 * slowest_s, 5.0)
        return cls(deadline_s=deadline_s, hard_s=deadline_s * 2 + REPEAT_S + 10, work_s=max(3 * work_s, 10.0))

    def confirming(self, watch_s: float) -> Patience:
        """The same for a start in which the same wait repeats, and is to be watched for so long."""
        hard_s = self.deadline_s + watch_s + 10
        return msgspec.structs.replace(self, hard_s=hard_s, repeat_s=watch_s)

    def forewarned(self) -> Patience:
        """The same where it is known that waits repeat in this target: whether they end is found out elsewhere."""
        return msgspec.structs.replace(self, repeat_s=min(self.repeat_s, FOREWARNED_S))

    def no_less_than(self, other: Patience) -> Patience:
        """The longer of the two in each: a plan of a quiet machine is done again on a busy one."""
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Patience(**dict(zip(self.__struct_fields__, map(max, mine, others), strict=True)))


class Diagnosis:
    """feed() returns the Wait that ends the observation, or None to go on looking.

    until_s: when the observation ends anyway; who waits longer than that need not be watched; repeat_s: as Patience.
    """

    def __init__(self, until_s: float = math.inf, repeat_s: float = REPEAT_S) -> None:
        self._until_s = until_s
        self._repeat_s = repeat_s
        self._window: list[Look] = []
        self._turns: list[int] = []
        self._progress: int | None = None
        # (thread, call, switches) -> when this wait was seen first, and its limit then.
        self._began: dict[tuple[int, str, int], tuple[float, float | None]] = {}
        # (thread, call) -> switches when first seen, switches now, whether it was there from the first look.
        self._counts: dict[tuple[int, str], tuple[int, int, bool]] = {}

    def feed(self, seen: Look, progress: int, turns: int = 0) -> Wait | None:
        """progress: any number that changes when bytes, acknowledgements or state changes are seen; turns: how often
        the call that the fault is in has been made.
        """
        if progress != self._progress:
            self._progress = progress
            self._window.clear()
            self._turns.clear()
            self._began.clear()
            self._counts.clear()
        for thread in seen.threads:
            self._began.setdefault(_key(thread), (seen.at_s, thread.limit_s))
            place = thread.thread, thread.call
            first, _, early = self._counts.get(place, (thread.switches, 0, not self._window))
            self._counts[place] = first, thread.switches, early
        self._window.append(seen)
        self._turns.append(turns)
        return self._busy(seen) or self._turning(seen) or self._stuck(seen) or self._repeating(seen)

    def last(self) -> Wait:
        """What to say when the hard limit cuts the observation off."""
        if not self._window:
            return Wait(state=WORKING)
        first, seen = self._window[0], self._window[-1]
        thread = _culprit(seen)
        share = _share(first, seen)
        if thread and thread.limit_s is not None and share <= QUIET_SHARE:
            return self._wait(TIMED, seen, thread)
        call = thread.call if thread else ""
        return Wait(state=WORKING, call=call, seen_s=seen.at_s - first.at_s, cpu=share)

    def _since(self, seen: Look, span_s: float) -> Look | None:
        """The latest look at least span_s before this one."""
        return next((e for e in reversed(self._window) if seen.at_s - e.at_s >= span_s), None)

    def _busy(self, seen: Look) -> Wait | None:
        earlier = self._since(seen, BUSY_S)
        if earlier and _share(earlier, seen) >= BUSY_SHARE:
            return Wait(state=BUSY, seen_s=seen.at_s - earlier.at_s, cpu=_share(earlier, seen))
        return None

    def _turning(self, seen: Look) -> Wait | None:
        """Busy with one call that stops at the gate, where it then spends a part of its time: always the same thread is
        at it, it reads nothing, and in no look does it rest.
        """
        earlier = self._since(seen, BUSY_S)
        if earlier is None:
            return None
        at = self._window.index(earlier)
        turns, looks = self._turns[-1] - self._turns[at], self._window[at:]
        if turns < TURNS_MIN or len(looks) < LOOKS_MIN or earlier.read_bytes != seen.read_bytes:
            return None
        tireless = set.intersection(*({t.thread for t in one.threads if _is_at_work(t)} for one in looks))
        thread = next((t for t in seen.threads if t.thread in tireless), None)
        if thread is None:
            return None
        waits = [t for one in looks for t in one.threads if t.thread == thread.thread and t.is_gated]
        if not waits:
            return None
        span_s = seen.at_s - earlier.at_s
        cpu = _share(earlier, seen)
        return Wait(state=BUSY, call=waits[-1].call, path=waits[-1].path, seen_s=span_s, rounds=turns, cpu=cpu)

    def _stuck(self, seen: Look) -> Wait | None:
        """Nobody will go on by itself: blocked, past the own limit, or not before the end of our patience."""
        earlier = self._since(seen, BLOCKED_S)
        waiting = [t for t in seen.threads if t.call not in _CHILD_WAITS and not t.is_monitor]
        if not earlier or not waiting or _share(earlier, seen) > QUIET_SHARE:
            return None
        if not all(t.state in _WAITING and self._is_over(seen, t) for t in waiting):
            return None
        timed = [t for t in waiting if self._limit(t) is not None]
        if timed:
            return self._wait(TIMED, seen, timed[0])
        return self._wait(BLOCKED, seen, next((t for t in waiting if t.call != "futex"), waiting[0]))

    def _is_over(self, seen: Look, thread: ThreadWait) -> bool:
        age_s, limit_s = self._age_s(seen, thread), self._limit(thread)
        if limit_s is None:
            return age_s >= BLOCKED_S
        ends_s = seen.at_s - age_s + limit_s
        return age_s >= limit_s + LIMIT_GRACE_S or (age_s >= BLOCKED_S and ends_s > self._until_s)

    def _repeating(self, seen: Look) -> Wait | None:
        span_s = seen.at_s - self._window[0].at_s
        timed = [t for t in seen.threads if t.limit_s is not None]
        if span_s < self._repeat_s or not timed:
            return None
        thread = max(timed, key=lambda t: self._rounds(t.call))
        rounds = self._rounds(thread.call)
        if rounds < ROUNDS:
            return None
        wait = self._wait(REPEATING, seen, thread)
        return msgspec.structs.replace(wait, seen_s=span_s, rounds=rounds)

    def _rounds(self, call: str) -> int:
        """How often somebody began this wait anew, a new thread or process included."""
        return sum(
            now - first + (0 if early else 1) for (_, name), (first, now, early) in self._counts.items() if name == call
        )

    def _age_s(self, seen: Look, thread: ThreadWait) -> float:
        return seen.at_s - self._began[_key(thread)][0]

    def _limit(self, thread: ThreadWait) -> float | None:
        return self._began[_key(thread)][1]

    def _wait(self, state: str, seen: Look, thread: ThreadWait) -> Wait:
        limit_s, age_s = self._limit(thread) or 0.0, self._age_s(seen, thread)
        if thread.is_kept and state != BLOCKED:
            state = KEPT  # what TCP ends is not without a limit, though a peer of ours that is silent puts it off
        return Wait(state=state, call=thread.call, path=thread.path, limit_s=limit_s, seen_s=age_s)


def _key(thread: ThreadWait) -> tuple[int, str, int]:
    return thread.thread, thread.call, thread.switches


def _is_at_work(thread: ThreadWait) -> bool:
    return thread.is_gated or thread.state == "R"


def _share(earlier: Look, later: Look) -> float:
    span_s = later.at_s - earlier.at_s
    return (later.cpu_s - earlier.cpu_s) / span_s if span_s > 0 else 0.0


def _culprit(seen: Look) -> ThreadWait | None:
    """The thread that stands for the tree: not one that waits for a child."""
    candidates = [t for t in seen.threads if t.call not in _CHILD_WAITS] or list(seen.threads)
    return candidates[0] if candidates else None
