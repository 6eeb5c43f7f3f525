"""Sentences that say no more than the trials support."""

from __future__ import annotations

import math

from blackstart.criteria.proportion import CERTAINTY, lower_bound

# What is claimed is one of these: a figure such as 93.7 % would pretend to be measured.
STEPS = (0.999, 0.99, 0.95, 0.9, 0.8, 0.5)


def supports(successes: int, trials: int, share: float, certainty: float = CERTAINTY) -> bool:
    """Whether `at least share` may be said after so many successes."""
    return trials > 0 and lower_bound(successes, trials, certainty) >= share


def trials_needed(share: float, certainty: float = CERTAINTY) -> int:
    """How many trials, all successful, support `at least share`."""
    assert 0.0 < share < 1.0 and 0.0 < certainty < 1.0, (share, certainty)
    needed = max(1, math.ceil(math.log(1.0 - certainty) / math.log(share)) - 1)
    while not supports(needed, needed, share, certainty):
        needed += 1
    return needed


def claim_survival(passed: int, trials: int, certainty: float = CERTAINTY) -> str:
    """`survived 59 of 59 (at least 95 %, with 95 % certainty)`; fewer trials claim less, very few nothing."""
    if trials == 0:
        return "nothing was tried"
    counted = f"survived {passed} of {trials}"
    claimed = next((step for step in STEPS if supports(passed, trials, step, certainty)), None)
    if claimed is None:
        return f"{counted} (too few for a claim)"
    return f"{counted} (at least {_percent(claimed)}, with {_percent(certainty)} certainty)"


def claim_share(hits: int, trials: int, certainty: float = CERTAINTY) -> str:
    """`in 9 of 10 trials (at least 60 % of the time, with 95 % certainty)`, rounded downwards."""
    if trials == 0:
        return "in none of 0 trials that were decided"
    floor = math.floor(lower_bound(hits, trials, certainty) * 100) / 100
    return (
        f"in {hits} of {trials} trials (at least {_percent(floor)} of the time, with {_percent(certainty)} certainty)"
    )


def _percent(share: float) -> str:
    return f"{round(share * 100, 1):g} %"
