"""Makes the first failure of each cause that power cuts found the smallest one: puts back whatever does not matter.

A trial of a smaller loss may take much longer than the one that failed (a start may now wait for a lock that is whole).
So they are done by a worker, which is given up when the time is over, and with it what it has in hand.
"""

from __future__ import annotations

from concurrent.futures import Executor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from blackstart.campaign.execute import workers
from blackstart.campaign.observe import Observation
from blackstart.campaign.tally import Suspicion
from blackstart.campaign.worker import Outcome, Workshop, work
from blackstart.core.errors import BlackstartError
from blackstart.core.verdict import FAILED
from blackstart.faults.power import PowerCut, fault_of
from blackstart.findings import Failure, cause_of
from blackstart.power import model
from blackstart.power.states import smaller
from blackstart.trials import Plan

if TYPE_CHECKING:
    from blackstart.campaign.campaign import Campaign

# What is left of the budget, and a little where nothing is.
SHRINK_MIN_S, SHRINK_MAX_S = 5.0, 20.0


def shrink(campaign: Campaign, seen: Observation, shop: Workshop) -> None:
    """Each of them in its share of the time."""
    limit_s = max(SHRINK_MIN_S, min(SHRINK_MAX_S, campaign.budget.left_s()))
    found = {
        cause: suspicion
        for cause, suspicion in campaign.tally.suspicions.items()
        if suspicion.reproduction.shown and [type(fault) for fault in suspicion.plan.faults] == [PowerCut]
    }
    if not found:
        return
    with workers(shop, 1) as executor:
        for cause, suspicion in found.items():
            until_s = campaign.clock.monotonic() + limit_s / len(found)
            if not _shrink(campaign, seen, executor, cause, suspicion, until_s):
                return


def _shrink(
    campaign: Campaign, seen: Observation, executor: Executor, cause: str, suspicion: Suspicion, until_s: float
) -> bool:
    """Whether the worker is free again."""
    fault = suspicion.plan.faults[0]
    assert isinstance(fault, PowerCut)
    recording = next(c for c in seen.calibration.chain if c.start == suspicion.plan.start).recording
    state, is_smaller = fault.state(recording), True
    while is_smaller:
        is_smaller = False
        for candidate in smaller(recording.order(model(fault.model)), state):
            left_s = until_s - campaign.clock.monotonic()
            if left_s <= 0:
                return True
            plan = msgspec.structs.replace(suspicion.plan, faults=(fault_of(recording, candidate),))
            outcome = within(left_s, executor, plan)
            if outcome is None:
                return False
            again = failing_again(campaign, suspicion, outcome, cause)
            if again is not None:
                suspicion.plan, state, is_smaller = plan, candidate, True
                suspicion.failures.insert(0, again)
                break
    return True


def within(left_s: float, executor: Executor, plan: Plan) -> Outcome | None:
    """What the trial gave, None if it took longer or could not be done; the worker is then good for no other.
    A finding is known by then, and may not be lost because it could not be told in fewer words.
    """
    with suppress(BrokenProcessPool, BlackstartError):
        done, _ = wait([future := executor.submit(work, plan)], left_s)
        return future.result() if done else None
    return None


def failing_again(campaign: Campaign, suspicion: Suspicion, outcome: Outcome, cause: str) -> Failure | None:
    """The failure of this cause in a trial of less harm."""
    failing = (verdict for verdict in outcome.verdicts if verdict.outcome == FAILED)
    made = (campaign.tally.failure(suspicion.failures[0].trial, outcome, verdict) for verdict in failing)
    return next((one for one in made if cause_of(one) == cause), None)
