"""Which trials, and in which order: what has found most comes first, and nothing likely to say the same twice in a row.

Pure. Candidates come from the kinds; the order is by rank, each further candidate of one cause being put back, so that
a small budget sees every file and every sort of failure once before it sees any twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from blackstart.core.calibration import Calibration
from blackstart.faults import KINDS, Candidate


def candidates(calibration: Calibration, kinds: Sequence[str], starts: Sequence[str]) -> list[Candidate]:
    """All candidates of these kinds for the clean runs that begin at these start states."""
    found: list[Candidate] = []
    for clean in calibration.chain:
        if clean.start in starts:
            for kind in kinds:
                found += KINDS[kind](clean, calibration)
    return found


def order(found: Iterable[Candidate], starts: Sequence[str]) -> list[Candidate]:
    """The order in which they are tried; starts are the start states, the more telling first."""
    seen: Counter[tuple[str, ...]] = Counter()
    keyed: list[tuple[tuple[int, ...], int, Candidate]] = []
    for index, candidate in enumerate(sorted(found, key=lambda c: (starts.index(c.start), c.rank))):
        put_back = seen[candidate.cause]
        seen[candidate.cause] += 1
        late = starts.index(candidate.start)
        key = (candidate.rank[0] + 2 * put_back + 2 * late, *candidate.rank[1:])
        keyed.append((key, index, candidate))
    return [candidate for _, _, candidate in sorted(keyed, key=lambda item: item[:2])]
