"""Does the target start again after what was done to it?

One restart that fails may be recovery at work; two in a row are a finding, even if the state checks out. What makes it
start again names the culprit: a path that only had to be removed (`stuck`), or one whose content had to be put
back (`corrupt`). A lock that expires by itself is a note.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import DEADLINE, EXITED, SIGNALED, History, Reset, Run
from blackstart.core.verdict import GONE_WHOLE, NOTE, Verdict, failed, passed, unknown
from blackstart.oracles import damage
from blackstart.oracles.speech import saying, saying_anywhere
from blackstart.oracles.view import DAMAGE_KINDS, View

NAME = "restart"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`stuck`, `corrupt`, `crashed` or `hung` after two restarts that failed."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS:
        return damage.judge_restart(view, NAME)
    if calibration.refuses_rerun:
        return (passed(NAME, "the program refuses a second run, so a restart by re-run does not apply"),)
    if view.clean is None or not view.restarts:
        return (unknown(NAME, "the target was not restarted, or there is no clean run to compare with"),)
    if view.ends_as_clean(view.restarts[0]):
        return (passed(NAME, _slowness(view, view.restarts[0])),)
    if len(view.restarts) == 1:
        return (unknown(NAME, f"the first restart {how(view.restarts[0])}, and no second one was made"),)
    last = view.restarts[-1]
    if view.ends_as_clean(last):
        return (passed(NAME, f"the first restart {how(view.restarts[0])}, the second one worked"),)
    return (_failure(view, last),)


def _failure(view: View, last: Run) -> Verdict:
    helped = [reset for reset in view.history.resets if reset.helped]
    seen = f"two restarts in a row fail: the last one {how(last)}"
    if helped:
        reset = min(helped, key=lambda one: (len(one.put_back) + len(one.removed), len(one.put_back)))
        return _by_reset(view, reset, seen + saying_anywhere(view, last))
    seen += saying(view, last)  # without a path it is what tells one cause from another, so it stays as it is
    tried = f"; none of {len(view.history.resets)} resets made it start" if view.history.resets else ""
    if last.end.how == SIGNALED:
        return failed(NAME, "crashed", seen + tried)
    if last.end.how == DEADLINE:
        return failed(NAME, "hung", seen + tried)
    return failed(NAME, "corrupt", seen + tried)


def _by_reset(view: View, reset: Reset, seen: str) -> Verdict:
    removed = sorted({view.masker(path) for path in reset.removed})
    put_back = sorted({view.masker(path) for path in reset.put_back})
    if put_back and all(_was_moved(view, path) for path in put_back):
        text = f"{', '.join(put_back)}{GONE_WHOLE}; it starts again once that is back"
        return failed(NAME, "stuck", seen, text, paths=(*put_back, *removed))
    if put_back:
        and_removed = f" and {', '.join(removed)} removed" if removed else ""
        text = f"it starts again once {', '.join(put_back)} has its last legal content back{and_removed}"
        return failed(NAME, "corrupt", seen, text, paths=(*put_back, *removed))
    late, names, are = view.history.late, ", ".join(removed), "are" if len(removed) > 1 else "is"
    if late is None:
        return failed(NAME, "stuck", seen, f"it starts again once {names} {are} removed", paths=removed)
    told = view.history
    if view.ends_as_clean(late):
        limit = f"{told.ahead_s:.0f} s, as a clock that is ahead shows" if told.ahead_s else f"{told.late_s:.0f} s"
        text = f"{names} {are} in the way for a time only: it starts again by itself within {limit}"
        return failed(NAME, "stuck", text, seen, paths=removed, label=NOTE)
    still = f"{seen}; {told.late_s:.0f} s later it still does not start by itself"
    still += f", nor with a clock that is {told.ahead_s:.0f} s ahead" if told.ahead_s else ""
    if told.clock:
        text = f"whether {names} is a lock with a longer time limit is not known: {told.clock}"
        return failed(NAME, "stuck", text, still, paths=removed, label=NOTE)
    return failed(NAME, "stuck", still, f"it starts again once {names} {are} removed", paths=removed)


def _was_moved(view: View, path: str) -> bool:
    """Whether this file is missing, and what stood there at the start was empty or stands under another name."""
    assert view.clean is not None
    old, last = view.clean.versions.get(path, (None,))[0], view.restarts[-1]
    if old is None or view.state(last, path) is not None:
        return False
    return not old.size or any(state.digest == old.digest for state in last.image.values())


def how(run: Run) -> str:
    """How a run ended, in words."""
    end = run.end
    if end.how == EXITED:
        return f"ends with exit status {end.code}"
    if end.how == SIGNALED:
        return f"dies of signal {end.signal}"
    if end.how == DEADLINE:
        return f"{'is not ready' if run.life is not None else 'has not ended'} after {end.elapsed_s:.1f} s"
    return "was killed"


def _slowness(view: View, run: Run) -> str:
    if run.life is not None:
        return ""
    control = max((clean.elapsed_s for clean in (view.clean, view.again) if clean is not None), default=0.0)
    limit = max(3 * control, control + 5.0)
    if run.end.elapsed_s <= limit or not control:
        return ""
    return f"the restart took {run.end.elapsed_s / control:.0f} times as long as a clean one"
