"""How large a share may be, after k of n.

Bounds that decide are one-sided and exact (Clopper-Pearson): the probability at which what was seen, or more, would
have been as rare as 1 - certainty. It is found by bisection of the exact binomial tail, which needs no library and is
monotone. For display, where a little too narrow does no harm, Wilson's interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist

CERTAINTY = 0.95
_HALVINGS = 200


def lower_bound(successes: int, trials: int, certainty: float = CERTAINTY) -> float:
    """The true share is at least this, with the given certainty."""
    _check(successes, trials, certainty)
    if successes == 0:
        return 0.0
    return _solve(lambda share: at_least(successes, trials, share), 1.0 - certainty)


def upper_bound(successes: int, trials: int, certainty: float = CERTAINTY) -> float:
    """The true share is at most this, with the given certainty."""
    _check(successes, trials, certainty)
    return 1.0 - lower_bound(trials - successes, trials, certainty)


def wilson(successes: int, trials: int, certainty: float = CERTAINTY) -> tuple[float, float]:
    """Wilson's two-sided interval."""
    _check(successes, trials, certainty)
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + certainty / 2)
    share = successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == trials else (middle + half) / scale
    return low, high


def at_least(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) of a binomial X, exact up to rounding; the smaller tail is summed."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    odds = share / (1.0 - share)
    if successes > trials * share:
        upwards = ((trials - k) / (k + 1) * odds for k in range(successes, trials))
        return min(1.0, _sum(_mass(successes, trials, share), upwards))
    downwards = (k / (trials - k + 1) / odds for k in range(successes - 1, 0, -1))
    return max(0.0, 1.0 - _sum(_mass(successes - 1, trials, share), downwards))


def _mass(successes: int, trials: int, share: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    return math.exp(ways + successes * math.log(share) + (trials - successes) * math.log1p(-share))


def _sum(first: float, ratios: Iterable[float]) -> float:
    """Terms away from the middle shrink ever faster: those that no longer count are left out."""
    total = term = first
    for ratio in ratios:
        term *= ratio
        if term <= total * 1e-17:
            break
        total += term
    return total


def _solve(tail: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high or high - low < 1e-15 * high:
            break
        if tail(middle) < wanted:
            low = middle
        else:
            high = middle
    return low


def _check(successes: int, trials: int, certainty: float) -> None:
    assert 0 <= successes <= trials, (successes, trials)
    assert 0.0 < certainty < 1.0, certainty
