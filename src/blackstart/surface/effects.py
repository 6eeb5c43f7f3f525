"""What does a service do by itself, again and again? Told from a run in which nothing is broken and nobody uses it.

An effect is something that others can see: a change of a file, a line that gets out, a connection. What it does several
times within a moment counts as once. It is periodic if it came five times at intervals that hardly differ, and still
came at the end. Whatever has the same period is one effect: which of them belongs to which is not known. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev

from blackstart.core.calibration import Effect
from blackstart.core.trace import Operation

TIMES_MIN, VARIATION_MAX = 5, 0.3
MOMENT_S = 0.1
ALIKE = 1.15
_TELLS = frozenset("connect sendto sendmsg sendmmsg".split())


def effects(trace: Iterable[Operation], begin_s: float, end_s: float) -> tuple[Effect, ...]:
    """The periodic effects between these moments, the fastest first."""
    moments: dict[str, list[float]] = {}
    for operation in trace:
        if begin_s <= operation.at_s <= end_s and is_effect(operation):
            moments.setdefault(operation.name, []).append(operation.at_s)
    periods = {name: period for name, seen in moments.items() if (period := period_s(seen, end_s))}
    groups: list[list[str]] = []
    for name in sorted(periods, key=lambda one: periods[one]):
        if groups and periods[name] <= ALIKE * periods[groups[-1][0]]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(Effect(period_s=fmean(periods[n] for n in names), names=tuple(sorted(names))) for names in groups)


def is_effect(operation: Operation) -> bool:
    """Whether somebody else can see that it was done."""
    is_said = operation.call in ("write", "writev") and operation.path in ("stdout", "stderr")
    return operation.changes or is_said or operation.call in _TELLS


def period_s(moments: Sequence[float], end_s: float) -> float:
    """The mean interval of what comes again and again until the end; 0 where it does not."""
    begun = [at for k, at in enumerate(moments) if k == 0 or at - moments[k - 1] > MOMENT_S]
    intervals = [later - earlier for earlier, later in itertools.pairwise(begun)]
    if len(begun) < TIMES_MIN or pstdev(intervals) >= VARIATION_MAX * fmean(intervals):
        return 0.0
    period = fmean(intervals)
    return period if end_s - begun[-1] < 2 * period else 0.0
