"""A trial, moment by moment, from its history: starts, the fault, its healing, what got out, ends.

Times are those of the history, each start's own clock laid behind the one before. A fault is healed when the start that
it falls into has ended, which is how faults are held (see `faults.scene`); in a service, when the history says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from blackstart.core.history import History, Injected, Run
from blackstart.report.model import Moment

OUTPUTS_MAX = 12
_TEXT_MAX = 160


def timeline_of(history: History, phases: Sequence[str]) -> tuple[Moment, ...]:
    """The moments in order; phases: into which start each of the history's faults falls, in their order."""
    begin_s = 0.0
    moments: list[Moment] = []
    for run in history.runs:
        faults = [one for one, phase in zip(history.injected, phases, strict=False) if phase == run.phase]
        moments += _moments(run, faults, begin_s)
        begin_s += run.end.elapsed_s
    return tuple(moments)


def _moments(run: Run, faults: list[Injected], begin_s: float) -> list[Moment]:
    end_s = begin_s + run.end.elapsed_s

    def moment(at_s: float, mark: str, text: str = "") -> Moment:
        at_s = round(min(max(at_s, begin_s), end_s), 4)
        return Moment(at_s=at_s, mark=mark, run=run.phase, text=text)  # type: ignore[arg-type]

    life = run.life
    healed_s = begin_s + life.healed_s if life is not None and life.healed_s >= 0 else end_s
    found = [moment(begin_s, "start", run.phase)]
    for fault in faults:
        if fault.fired:
            at_s = fault.operation.at_s if fault.operation else max(0.0, life.fired_s) if life else 0.0
            found += [moment(begin_s + at_s, "inject", fault.fault), moment(healed_s, "heal", fault.fault)]
    shown = run.outputs if len(run.outputs) <= OUTPUTS_MAX else run.outputs[-OUTPUTS_MAX:]
    found += [
        moment(begin_s + one.at_s, "output", f"{one.stream}: {_shown(one.data)}") for one in shown if one.data.strip()
    ]
    found.append(moment(end_s, "end", _ending(run)))
    order = ("start", "inject", "output", "heal", "end")
    return sorted(found, key=lambda one: (one.at_s, order.index(one.mark)))


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape").strip()
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"


def _ending(run: Run) -> str:
    end = run.end
    if end.how == "exited":
        return f"ends with exit status {end.code}"
    if end.how == "stopped":
        return "stopped when it was told to"
    if end.how == "killed":
        return "killed by the fault"
    return f"ended by signal {end.signal}" if end.signal else "did not end in time"
