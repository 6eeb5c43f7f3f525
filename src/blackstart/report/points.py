"""The class of points of failure that a trial belongs to: what breaks, in which call, on which file.

Read from a plan as plain JSON, not from fault values: stored runs, reports of other versions and kinds of fault that
others add are all placed by the same few keys. Trials of one class are one cell of the coverage and one test case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

# Keys of a fault that say where and when it falls; any other text in it says what it does.
_PLACE = frozenset(("fault", "path", "call", "phase", "start", "moment"))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """kind: of the fault; call, path: where it falls, "" where it has none; what: the variant; phase: run, restart."""

    kind: str
    call: str = ""
    path: str = ""
    what: str = ""
    phase: str = "run"


def place_of(plan: Mapping[str, Any]) -> Place:
    """The class of a trial's last fault; earlier ones only make what there is to recover from."""
    faults = plan.get("faults") or ()
    kind = str(plan.get("kind", ""))
    fault = faults[-1] if faults else {}
    if not isinstance(fault, Mapping):
        return Place(kind=kind)
    at = next((fault[key] for key in ("point", "last") if isinstance(fault.get(key), Mapping)), fault)
    words = [value for key, value in fault.items() if isinstance(value, str) and key not in _PLACE]
    return Place(
        kind=kind,
        call=str(at.get("call", "")),
        path=str(at.get("path", "")),
        what=" ".join(words),
        phase=str(fault.get("phase", "run")),
    )
