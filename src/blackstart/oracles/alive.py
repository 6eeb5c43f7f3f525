"""Is a service well again once what was broken is healed?

`dead` only where it makes no attempt at all: not a call, not a tick of the processor in the time to settle. One that
still tries may be backing off: that is unknown, with what was seen.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import STOPPED, History
from blackstart.core.verdict import Verdict, failed, passed, unknown
from blackstart.oracles.view import View

NAME = "alive"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`dead` if it runs, was healed, and neither answers nor tries to."""
    view = View(history, calibration)
    first = view.first
    if first is None or first.life is None or view.clean is None or view.clean.life is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    life = first.life
    if life.healed_s < 0 or first.end.how != STOPPED:
        return (passed(NAME, "it was not up when the fault was healed"),)
    if life.again_s >= 0:
        return (passed(NAME, f"ready again {life.again_s - life.healed_s:.2f} s after healing"),)
    waited = f"{life.stop_s - life.healed_s:.1f} s after everything was healed it does not answer"
    if life.tried:
        return (unknown(NAME, f"recovering: {waited}, but it still does something"),)
    return (failed(NAME, "dead", f"{waited}, though it runs: not one call, no use of the processor"),)
