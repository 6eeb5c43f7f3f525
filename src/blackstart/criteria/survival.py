"""How long recovery takes when some never recovered while we watched.

Leaving those out would make slow programs look fast; Kaplan-Meier counts them for as long as they were seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """From at_s on, this share is still not done; at_risk and ended count those just before and at that time."""

    at_s: float
    share: float
    at_risk: int
    ended: int
    standard_error: float


def kaplan_meier(durations: Iterable[tuple[float, bool]]) -> tuple[Step, ...]:
    """The curve for (seconds, whether it ended then); one that did not was watched for so long.

    Where both happen at one time, the ends come first, as is usual. Standard errors are Greenwood's.
    """
    watched = sorted(durations)
    assert all(seconds >= 0 and math.isfinite(seconds) for seconds, _ in watched), watched
    at_risk, share, variance = len(watched), 1.0, 0.0
    steps = []
    for at_s in sorted({seconds for seconds, _ in watched}):
        ended = sum(1 for seconds, done in watched if seconds == at_s and done)
        leaving = sum(1 for seconds, _ in watched if seconds == at_s)
        if ended:
            share *= 1 - ended / at_risk
            variance += ended / (at_risk * (at_risk - ended)) if at_risk > ended else 0.0
            error = share * math.sqrt(variance)
            steps.append(Step(at_s=at_s, share=share, at_risk=at_risk, ended=ended, standard_error=error))
        at_risk -= leaving
    return tuple(steps)


def median_s(curve: Iterable[Step]) -> float | None:
    """When half were done; None if that was not seen."""
    return next((step.at_s for step in curve if step.share <= 0.5), None)
