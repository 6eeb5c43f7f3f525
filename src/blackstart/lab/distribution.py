"""The distributions of jitter as tables of their quantiles, as netem has them: for draws that are correlated."""

from __future__ import annotations

from functools import cache

from blackstart.lab.impairment import Distribution

# netem's tables end there, in standard deviations.
SIGMAS_MAX = 4.0
_LENGTH = 4096


@cache
def table(distribution: Distribution) -> tuple[float, ...]:
    """Quantiles, evenly spaced, in standard deviations (uniform: in half widths), with a mean near 0."""
    from statistics import NormalDist  # slow to import, and seldom needed

    quantiles = [(place + 0.5) / _LENGTH for place in range(_LENGTH)]
    normal = [NormalDist().inv_cdf(q) for q in quantiles]
    pareto = [((1 - q) ** (-1 / 3) - 1.5) * 4 / 3 for q in quantiles]
    if distribution == "uniform":
        values = [2 * q - 1 for q in quantiles]
    elif distribution == "normal":
        values = normal
    elif distribution == "pareto":
        values = pareto
    else:  # a sum of two draws has no such simple quantiles: it is drawn along a grid of both, and sorted
        side = int(_LENGTH**0.5)
        coarse = range(side // 2, _LENGTH, side)
        values = sorted(0.25 * normal[a] + 0.75 * pareto[b] for a in coarse for b in coarse)
    return tuple(max(-SIGMAS_MAX, min(SIGMAS_MAX, value)) for value in values)
