"""The trial that a finding shows: of all that failed with its cause the one with the fewest, mildest, latest faults.

The first one that failed was tried first because such faults find most, not because it tells most. A milder one takes
its place once it has failed again; where the crash alone does the same, a fault in the recovery from it has no part.
Power cuts have a way of their own (see `power.shrink`).
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import msgspec

from blackstart.campaign.execute import Task, Why, workers
from blackstart.campaign.shrinking import failing_again, within
from blackstart.campaign.tally import Suspicion
from blackstart.campaign.worker import Workshop
from blackstart.core.verdict import DEFECT
from blackstart.trials import Plan

if TYPE_CHECKING:
    from blackstart.campaign.campaign import Campaign

# For all findings together: what is left of the budget, and a little where nothing is.
SOFTEN_MIN_S, SOFTEN_MAX_S = 10.0, 30.0


def harm(plan: Plan) -> tuple[float, ...]:
    """Small where little is broken: how many faults, a kill before all else (it happens to every program, and needs no
    words), whether the last one stays, how little it leaves, how early.
    """
    fault = plan.faults[-1]
    stays = getattr(fault, "persistent", False) or not getattr(fault, "freed", True)
    leaves = getattr(fault, "most", 0) + getattr(fault, "room", 0)
    point = getattr(fault, "point", None)
    place = point.operation.index if point is not None and point.operation is not None else 0
    return len(plan.faults), plan.kind != "kill", stays, -leaves, -place


def postponed(tasks: deque[Task], hung: Plan) -> deque[Task]:
    """The tasks, those whose fault stays at the end if the one that stayed made the target retry without end: they
    are likely to do the same, and each takes long.
    """
    if not _stays(hung):
        return tasks
    return deque(sorted(tasks, key=lambda task: task.why == Why.TRIAL and _stays(task.plan)))


def _stays(plan: Plan) -> bool:
    return bool(plan.faults) and bool(harm(plan)[2])


def soften(campaign: Campaign, shop: Workshop) -> None:
    """Show each finding by the mildest of its trials; forget those that a crash alone explains."""
    suspicions = campaign.tally.suspicions
    found = {
        cause: known
        for cause, known in suspicions.items()
        if known.plan.kind != "power" and known.label == DEFECT and known.reproduction.shown
    }
    for cause, known in list(found.items()):
        if campaign.tally.is_explained(known.plan, known.failures[0]):
            del suspicions[cause], found[cause]
        elif not _milder(known):
            del found[cause]
    if not found:
        return
    until_s = campaign.clock.monotonic() + max(SOFTEN_MIN_S, min(SOFTEN_MAX_S, campaign.budget.left_s()))
    with workers(shop, 1) as executor:
        for cause, known in found.items():
            if not _soften(campaign, executor, cause, known, until_s):
                return


def _milder(known: Suspicion) -> list[Plan]:
    return sorted((plan for plan in known.plans if harm(plan) < harm(known.plan)), key=harm)


def _soften(campaign: Campaign, executor: Executor, cause: str, known: Suspicion, until_s: float) -> bool:
    """The mildest that fails again is what the finding shows; whether there is time and a free worker for the next."""
    for milder in _milder(known):
        # As the one shown so far: how long a lock was watched is a part of what is told.
        plan = msgspec.structs.replace(milder, late_s=known.plan.late_s)
        left_s = until_s - campaign.clock.monotonic()
        outcome = within(left_s, executor, plan) if left_s > 0 else None
        if outcome is None:
            return False
        again = failing_again(campaign, known, outcome, cause)
        if again is not None:
            known.plan, known.stack = plan, ()
            known.failures.insert(0, again)
            if known.wants_stack:
                _place(campaign, executor, known, until_s)
            break
    return True


def _place(campaign: Campaign, executor: Executor, known: Suspicion, until_s: float) -> None:
    """Ask once more where exactly a native program stands, as the frames of the trial shown before are not its own."""
    left_s = until_s - campaign.clock.monotonic()
    plan = msgspec.structs.replace(known.plan, stacks=True, rerun=False)
    outcome = within(left_s, executor, plan) if left_s > 0 else None
    if outcome is not None:
        known.stack = next((one.stack for one in outcome.history.injected if one.stack), ())
