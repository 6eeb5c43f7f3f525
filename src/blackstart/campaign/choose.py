"""Which trials, and in which order: what has found most comes first, and nothing likely to say the same twice in a row.

Pure but for a look at the clock. Candidates come from the kinds; the order is by rank, each further candidate of one
cause being put back, so that a small budget sees every file and every sort of failure once before it sees any twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from blackstart.core.calibration import Calibration
from blackstart.core.clock import SYSTEM, Clock
from blackstart.faults import KINDS, Candidate

# They damage what stands there at the start: of a service's own files that is the re-run alone, and nothing tells it
# earlier.
STANDING = frozenset({"file", "db"})


def candidates(
    calibration: Calibration,
    kinds: Sequence[str],
    starts: Sequence[str],
    limit_s: float = math.inf,
    *,
    clock: Clock = SYSTEM,
    notes: list[str] | None = None,
) -> list[Candidate]:
    """All candidates of these kinds for the clean runs that begin at these start states.

    limit_s: how long those of one kind from one start may be worked out, the most telling first; notes: takes what is
    to be said of a kind that was cut short.
    """
    found: list[Candidate] = []
    for clean in calibration.chain:
        for kind in kinds if clean.start in starts else ():
            first, end_s = len(found), clock.monotonic() + limit_s
            for candidate in KINDS[kind](clean, calibration):
                found.append(candidate)
                if clock.monotonic() > end_s:
                    if notes is not None:
                        notes.append(_cut_short(kind, clean.start, len(found) - first))
                    break
    return found


def _cut_short(kind: str, start: str, count: int) -> str:
    return (
        f"{kind}: of the run from {start} only the {count} most telling points can be tried: "
        "to work out more would take too large a part of the budget"
    )


def order(found: Iterable[Candidate], starts: Sequence[str]) -> list[Candidate]:
    """The order in which they are tried; starts are the start states, the more telling first."""
    seen: Counter[tuple[str, ...]] = Counter()
    keyed: list[tuple[tuple[int, ...], int, Candidate]] = []
    for index, candidate in enumerate(sorted(found, key=lambda c: (starts.index(c.start), c.rank))):
        put_back = seen[candidate.cause]
        seen[candidate.cause] += 1
        is_told_earlier = put_back or candidate.fault.kind not in STANDING
        late = starts.index(candidate.start) if is_told_earlier else 0
        key = (candidate.rank[0] + 2 * put_back + 2 * late, *candidate.rank[1:])
        keyed.append((key, index, candidate))
    return [candidate for _, _, candidate in sorted(keyed, key=lambda item: item[:2])]
