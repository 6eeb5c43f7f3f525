"""Does a service stop when it is told to, and does it leave nothing behind?

Judged against null stops: one that ignores TERM without any fault is not held up by the fault. After a graceful stop
nothing may be left that null stops never leave. A kill leaves things; only what accumulates is judged then, elsewhere.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, SIGNALED, STOPPED, History, Run
from blackstart.core.signals import signal_name
from blackstart.core.verdict import Verdict, failed, passed, unknown
from blackstart.core.waiting import BUSY, KEPT, TIMED, WORKING
from blackstart.oracles.uncaught import TRACEBACK, told_elsewhere, traceback_of
from blackstart.oracles.view import View

NAME = "stop"
# What dies of these was told to, or does so by default.
_ASKED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL, signal.SIGPIPE})
# What being told to stop looks like inside; runtimes log it of tasks that were cancelled in mid-work.
_BEING_TOLD = frozenset({"KeyboardInterrupt", "CancelledError"})
_NAMED_MAX = 3


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`hung`, `unclean` or `leaked`."""
    view = View(history, calibration)
    if view.clean is None or view.clean.life is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    verdicts: list[Verdict] = []
    for run in history.runs:
        if run.life is not None and run.phase != "before":
            verdicts += [*_held_up(view, run), *_unclean(view, run), *_left(view, run)]
    unique = {(v.outcome, v.consequence): v for v in reversed(verdicts)}
    return tuple(unique.values()) or (passed(NAME),)


def _held_up(view: View, run: Run) -> list[Verdict]:
    """Told to stop, and still there long after the time that null stops take."""
    assert run.life is not None and view.clean is not None and view.clean.life is not None
    wait = run.life.held_up
    if wait is None or view.clean.life.held_up is not None:
        return []
    where = f"in {wait.call}" if wait.call else "in its own code"
    waited_s = run.end.elapsed_s - run.life.stop_s
    text = f"told to stop by TERM it had not ended after {waited_s:.1f} s: {wait.state} {where}"
    if view.history.kind != "signal" and run.life.fired_s >= run.life.stop_s:
        # Not to end while its last save fails is how a careful service refuses to lose what it has.
        return [unknown(NAME, f"{text}; the fault came on the way out, and was still there")]
    if wait.state in (WORKING, TIMED, KEPT):
        return [unknown(NAME, text)]
    return [failed(NAME, "spinning" if wait.state == BUSY else "hung", text)]


def _unclean(view: View, run: Run) -> list[Verdict]:
    """Told to stop, it dies of an exception or a fault of its own, which null stops never do."""
    assert run.life is not None and view.clean is not None
    told_s = run.life.stop_s
    if view.history.kind == "signal" and told_s < 0 and run.end.how in (EXITED, SIGNALED):
        told_s = run.life.fired_s
    if told_s < 0 or run.life.held_up is not None:
        return []
    if run.end.signal and run.end.signal not in _ASKED:
        return [failed(NAME, "crashed", f"told to stop, it dies of {signal_name(run.end.signal)}")]
    said = [o.data for o in run.outputs if o.stream == "stderr" and o.at_s >= told_s]
    if TRACEBACK.decode() in view.clean.stderr:
        return []
    what = _exception(said, run.end.code not in (0, view.clean.code))
    if not what or what.split(":")[0].rpartition(".")[2] in _BEING_TOLD:
        return []
    return [failed(NAME, "unclean", f"told to stop, it ends in an exception that nobody caught: {what[:200]}")]


def _exception(said: Sequence[bytes], is_bad_end: bool) -> str:
    """The exception that nobody caught, as told on stderr; `` if none."""
    last = traceback_of(said, is_bad_end=is_bad_end).decode("utf-8", "replace").strip().splitlines()
    if last:
        return next((line for line in last[1:] if not line.startswith(" ")), "an exception")
    return told_elsewhere(b"".join(said).decode("utf-8", "replace")) if is_bad_end else ""


def _left(view: View, run: Run) -> list[Verdict]:
    """Processes that go on after a graceful stop, where null stops leave none; files of one start alone."""
    assert view.clean is not None
    if run.end.how != STOPPED or run.life is None or run.life.held_up is not None:
        return []
    found = []
    if run.left and not view.clean.left:
        named = "; ".join(command[:80] for command in run.left[:_NAMED_MAX])
        found.append(failed(NAME, "leaked", f"it has stopped, and {len(run.left)} of its processes go on: {named}"))
    clean = [files.files for files in view.calibration.chain]
    # One stale temporary file is no failure; a lock says that somebody is there.
    locks = [path for path, role in view.calibration.roles.items() if role == "lock"]
    # Who is kept from removing it leaves it there; whether that is in the way the restart tells.
    kept = {one.operation.masked for one in view.history.injected if one.operation is not None}
    there = sorted(
        p for p in locks
        if p not in kept and view.state(run, p) is not None and not any(p in files for files in clean)
    )  # fmt: skip
    if there and run.phase == "run" and "*" not in "".join(there):
        text = f"it has stopped, and leaves {', '.join(there)}, which a clean stop removes"
        found.append(failed(NAME, "unclean", text, paths=there))
    return found
