"""When is a start that does not end hung, when spinning, when merely slow; and when is a death a crash?"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

from blackstart.core.history import DEADLINE, SIGNALED, Run, Wait
from blackstart.core.signals import signal_name
from blackstart.core.verdict import DEFECT, NOTE
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
from blackstart.oracles.view import View

CRASHING = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
# A wait that repeats for so long is a note, and for so long a defect.
WATCHED_S, CONFIRMED_S = 60.0, 150.0
# What the evidence of one that is no trouble at all begins with.
SLOW = "slow"


@dataclass(frozen=True)
class Trouble:
    """consequence: `` where nothing is decided, and evidence then says why not; label: a note where it was not watched
    for long enough to call it a defect; path: what it waits for, masked.
    """

    consequence: str
    evidence: str
    path: str = ""
    label: str = DEFECT


def died(run: Run) -> Trouble | None:
    """A death by a signal that no program asks for."""
    if run.end.how != SIGNALED or run.end.signal not in CRASHING:
        return None
    return Trouble("crashed", f"it dies of {signal_name(run.end.signal)}")


def hangs(view: View, run: Run) -> Trouble | None:
    """What not ending by the deadline means; None if it ended."""
    if run.end.how != DEADLINE:
        return None
    limit = max(3 * view.calibration.slowest_s, 5.0)
    if run.end.elapsed_s < limit:
        return Trouble("", f"it was given only {run.end.elapsed_s:.1f} s, less than {limit:.1f} s")
    wait = run.end.wait
    if wait is None:
        return Trouble("", "it did not end in time, and nobody looked at what it was doing")
    path = view.masker(wait.path) if wait.path.startswith("/") else ""
    found = _judge_wait(wait, path or wait.path.partition(":")[0], run.end.elapsed_s)
    return replace(found, path=path)


def _short_of(watched_s: float) -> str:
    if watched_s >= CONFIRMED_S:
        return ""
    return f" (only {CONFIRMED_S:.0f} s would confirm that it never ends: give it a larger budget)"


def _judge_wait(wait: Wait, thing: str, elapsed_s: float) -> Trouble:
    where = " ".join(part for part in (wait.call, thing) if part) or "a call"
    after = f"it has not ended after {elapsed_s:.1f} s"
    if wait.state == BLOCKED and wait.seen_s >= BLOCKED_S:
        return Trouble("hung", f"{after}: blocked in {where} without a time limit, using no CPU")
    if wait.state == TIMED and wait.seen_s >= wait.limit_s + LIMIT_GRACE_S:
        return Trouble("hung", f"{after}: still in {where}, whose own limit of {wait.limit_s:.1f} s is past")
    if wait.state == KEPT:
        return Trouble("", f"{after}: in {where}; TCP gives that connection up once the machine of its peer is gone")
    if wait.state == REPEATING and wait.rounds >= ROUNDS:
        if wait.seen_s >= WATCHED_S:
            label = DEFECT if wait.seen_s >= CONFIRMED_S else NOTE
            text = f"{where} again and again without any progress: {wait.rounds} times in {wait.seen_s:.0f} s"
            return Trouble("hung", text + _short_of(wait.seen_s), label=label)
        return Trouble("", f"it repeats {where} without progress, and was not watched for long enough to say more")
    if wait.state == BUSY and wait.seen_s >= BUSY_S and wait.cpu >= BUSY_SHARE:
        return Trouble("spinning", f"{after}: it uses {wait.cpu:.0%} of a CPU without any progress")
    if wait.state == BUSY and wait.seen_s >= BUSY_S and wait.rounds >= ROUNDS:
        often = f"{wait.rounds / wait.seen_s:.0f} times a second"
        return Trouble("spinning", f"{after}: it makes {where} again and again, {often}, without any progress")
    if wait.state == WORKING:
        return Trouble("", f"{SLOW}: it was still making progress at the deadline")
    return Trouble("", f"it did not end in time, but was seen in {where} too briefly to call it hung")
