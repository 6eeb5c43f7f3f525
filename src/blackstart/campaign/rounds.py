"""Which trials are done again and again: those that left something that may add up, each sort of it once."""

from __future__ import annotations

import msgspec

from blackstart.campaign.budget import Budget
from blackstart.campaign.execute import Task, Why
from blackstart.campaign.tally import Tally
from blackstart.campaign.worker import Outcome
from blackstart.core.verdict import FAILED, Verdict
from blackstart.oracles import left
from blackstart.trials.rounds import WITHIN_KINDS

ROUNDS, ROUNDS_MAX = 6, 6
# With the fault and without, and what goes before it.
STARTS, SHARE_MAX = 2 * ROUNDS + 4, 0.25


def wanted(task: Task, outcome: Outcome, tally: Tally, budget: Budget) -> Task | None:
    """The same trial with rounds, where it left what no other one did, and the time for that is there."""
    if not outcome.suspicion or outcome.suspicion in tally.suspected or len(tally.suspected) >= ROUNDS_MAX:
        return None
    if len(task.plan.faults) != 1 or (_is_held(outcome) and task.plan.kind not in WITHIN_KINDS):
        return None  # over several starts what is held could not add up
    if STARTS * task.took_s > SHARE_MAX * budget.total_s:
        tally.postponed.setdefault(outcome.suspicion, STARTS * task.took_s / SHARE_MAX)
        return None
    tally.postponed.pop(outcome.suspicion, None)
    tally.suspected.add(outcome.suspicion)
    return Task(msgspec.structs.replace(task.plan, rounds=ROUNDS), Why.CONFIRM)


def _is_held(outcome: Outcome) -> bool:
    """Whether it is something that a living service holds more of, and no file."""
    first = outcome.history.run("run")
    return first is not None and first.life is not None and not outcome.suspicion.startswith("files ")


def is_confirmed(verdict: Verdict) -> bool:
    """Whether one trial with rounds is enough: it is a repetition already."""
    return verdict.oracle == left.NAME and verdict.outcome == FAILED
