"""Did the fault reach the target? If not, nothing that followed says anything about it."""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import History, Injected
from blackstart.core.units import plural
from blackstart.core.verdict import Verdict, passed, unknown

NAME = "fired"
DID_NOT_FIRE = " did not fire: "


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """Passed if every planned fault acted on the operation it was planned for; else unknown, never failed."""
    if history.trouble:
        return (unknown(NAME, f"nothing can be said of this trial: {history.trouble}"),)
    if history.kind in ("null", "placebo"):
        return (passed(NAME),)
    if not history.injected:
        return (unknown(NAME, "no fault is recorded"),)
    for injected in history.injected:
        why = _why_not(injected)
        if why:
            return (unknown(NAME, why),)
    if history.run("run") is None:
        return (unknown(NAME, "the target was not started"),)
    return (passed(NAME, "; ".join(injected.note for injected in history.injected if injected.note)),)


def _why_not(injected: Injected) -> str:
    if injected.fired < 1:
        reason = injected.note or f"it acted at none of {plural(injected.hits, 'call')}"
        return f"{injected.fault}{DID_NOT_FIRE}{reason}"
    if injected.matched is False:
        seen = f" ({injected.operation.call} {injected.operation.path})" if injected.operation else ""
        return f"{injected.fault} fired on another operation than planned{seen}: the target's order has drifted"
    return ""
