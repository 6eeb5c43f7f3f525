"""Which trials, and in which order: what has found most comes first, and nothing likely to say the same twice in a row.

Pure but for a look at the clock. Candidates come from the kinds; the order is by rank, each further candidate of one
cause being put back, so that a small budget sees every file and every sort of failure once before it sees any twice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from blackstart.core.calibration import Calibration
from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.masking import same
from blackstart.core.trace import Operation
from blackstart.faults import KINDS, Candidate
from blackstart.oracles.view import JUDGED_ROLES

# They damage what stands there at the start: of a service's own files that is the re-run alone, and nothing tells it
# earlier.
STANDING = frozenset({"file", "db"})
# How many of the changes that no trial breaks are named.
LATER_MAX = 5
_DIGITS = re.compile(r"[0-9]+")


def starts(calibration: Calibration) -> tuple[str, ...]:
    """The start states of trials, the more telling first: a re-run has something to lose. Where it only makes the same
    again, a failure would leave what should be there.
    """
    wanted = [clean.start for clean in calibration.chain[:2]]
    if calibration.is_service or calibration.refuses_rerun:
        return tuple(wanted)  # a workload that says the same ids twice tells a loss of the first only
    known = wanted[: len(calibration.chain) - 1] or wanted  # each with a re-run that is known
    if len(known) > 1 and _leaves_all(calibration):
        return tuple(known)
    return tuple(reversed(known))


def _leaves_all(calibration: Calibration) -> bool:
    """Whether the second clean run leaves in each file that is judged what the first one did."""
    first, second = (clean.files for clean in calibration.chain[:2])
    judged = [path for path, role in calibration.roles.items() if role in JUDGED_ROLES]
    return bool(judged) and all(same(first.get(path), second.get(path)) for path in judged)


def later_only(calibration: Calibration, starts: Sequence[str]) -> dict[str, str]:
    """What no trial breaks, since only clean runs later than those that trials begin with change it: what -> why."""
    broken = {_sort(one) for clean in calibration.chain if clean.start in starts for one in clean.trace}
    later = [one for clean in calibration.chain if clean.start not in starts for one in clean.trace if one.changes]
    later = [one for one in later if calibration.roles.get(one.masked, "") in JUDGED_ROLES and _sort(one) not in broken]
    found = {_sort(one): f"{one.call} {one.masked}" for one in later}
    why = "only the third clean run does this; trials begin with the first and the second"
    return dict.fromkeys(list(found.values())[:LATER_MAX], why)


def _sort(operation: Operation) -> tuple[str, str]:
    return operation.call, _DIGITS.sub("#", operation.masked)


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
    """The order in which they are tried; starts are the start states, the more telling first.

    Files whose names differ in their numbers are one cause: a spool has one for each job, and all come to the same.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    keyed: list[tuple[tuple[int, ...], int, Candidate]] = []
    for index, candidate in enumerate(sorted(found, key=lambda c: (starts.index(c.start), c.rank))):
        cause = tuple(_DIGITS.sub("#", part) if part == candidate.path else part for part in candidate.cause)
        put_back = seen[cause]
        seen[cause] += 1
        is_told_earlier = put_back or candidate.fault.kind not in STANDING
        late = starts.index(candidate.start) if is_told_earlier else 0
        key = (candidate.rank[0] + 2 * put_back + 2 * late, *candidate.rank[1:])
        keyed.append((key, index, candidate))
    return [candidate for _, _, candidate in sorted(keyed, key=lambda item: item[:2])]
