"""What one trial gives rise to besides repetitions: rounds, one more use after healing, one more run under a tracer.

None of them is counted as a trial. Each sort is kept small: rounds as `rounds` says, a few uses of each kind of fault,
tracing for as long as it takes no more than a seventh of the time. What comes of a use that insists is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from blackstart.campaign import rounds
from blackstart.campaign.budget import Budget
from blackstart.campaign.execute import Task, Why
from blackstart.campaign.impact import wants_measure
from blackstart.campaign.tally import Tally
from blackstart.campaign.worker import Outcome
from blackstart.core.history import STOPPED, History
from blackstart.oracles.alive import IN_VAIN_S
from blackstart.targets.workload import INFO, OK
from blackstart.trials import Plan

INSIST_MAX = 6
TRACED_SHARE = 1 / 7
# What comes back by a link comes when its time-outs let it; after some of these kinds the workload runs again anyway.
_OF_LINKS = frozenset(("link", "peer", "dns"))


def tasks(task: Task, outcome: Outcome, tally: Tally, budget: Budget) -> Iterator[Task]:
    """Each of them is done before other trials."""
    again = rounds.wanted(task, outcome, tally, budget)
    if again is not None:
        yield again
    kind = task.plan.kind
    if tally.repeats and wants_measure(tally.samples.get(kind, []), tally.measures[kind]):
        tally.measures[kind] += 1
        yield Task(msgspec.structs.replace(task.plan, measures=True), Why.MEASURE)
    group = re.sub(r"[0-9]+", "", str(task.plan))
    is_wanted = tally.repeats and kind not in _OF_LINKS and len(tally.insisted) < INSIST_MAX
    if is_wanted and group not in tally.insisted and _is_deaf(outcome.history):
        tally.insisted.add(group)
        yield Task(msgspec.structs.replace(task.plan, insists=True), Why.INSIST)
    if kind != "power":
        if group not in tally.traced:
            tally.untraced.setdefault(group, task.plan)
        if tally.is_tracing or _is_python(outcome):
            yield from traced(task.plan, tally, budget)


def _is_deaf(history: History) -> bool:
    """Whether the service stood to the end, and answered nobody any more once the fault had acted.

    One whose users call it refused may have let them wait in vain: then each took a while.
    """
    first = history.run("run")
    if first is None or first.life is None or first.life.fired_s < 0 or first.end.how != STOPPED:
        return False
    later = [act for act in first.life.acts if act.at_s > first.life.fired_s]
    if not later or any(act.how == OK for act in later):
        return False
    took_s = (later[-1].at_s - first.life.fired_s) / len(later)
    return later[-1].how == INFO or took_s >= IN_VAIN_S


def _is_python(outcome: Outcome) -> bool:
    """Whether the fault acted on a call that a Python program made."""
    acted = [one.operation for one in outcome.history.injected if one.fired and one.operation is not None]
    return any(".py:" in frame for operation in acted for frame in operation.site)


def taken(task: Task, outcome: Outcome, tally: Tally, budget: Budget) -> Iterator[Task]:
    """Note what one of those apart showed; what follows from that."""
    if task.why == Why.MEASURE:
        tally.sampled(task.plan.kind, outcome.history, outcome.verdicts)
        return
    tally.met(outcome.history, task.took_s)
    yield from traced(task.plan, tally, budget)


def traced(plan: Plan, tally: Tally, budget: Budget) -> Iterator[Task]:
    """The next trial under the tracer: a null trial first, which shows whether there is anything to trace."""
    if not tally.is_tracing:
        tally.is_tracing = True
        yield _under_tracer(msgspec.structs.replace(plan, kind="null", faults=()))
        return
    if not tally.handlers or tally.traced_s > TRACED_SHARE * budget.elapsed_s():
        return
    for group in list(tally.untraced)[:1]:
        tally.traced.add(group)
        yield _under_tracer(tally.untraced.pop(group))


def _under_tracer(plan: Plan) -> Task:
    return Task(msgspec.structs.replace(plan, traces=True), Why.TRACE)
