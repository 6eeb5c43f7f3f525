"""Does a service acknowledge before it writes? Told from a clean run, in which nothing is broken.

An acknowledgement that comes with no write to any state file since the one before it has no effect yet that could
outlive the process. Where that is so of most, it is write-behind: a trade-off of its configuration, and not a defect.
So it is where each write comes just after its acknowledgement, and so before the next one: nothing was written before
the first, and something after the last while the service was still left alone. The window is the time from such an
acknowledgement to the next write. Writes and acknowledgements are seen by one loop, each write before the kernel
carries it out, so their order is certain. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blackstart.core.history import Act
from blackstart.core.trace import Operation

SHARE_MIN = 0.5
KEPT = ("state", "output")


def write_behind(
    trace: Sequence[Operation], acts: Sequence[Act], roles: Mapping[str, str], begin_s: float = 0.0, stop_s: float = 0.0
) -> str:
    """The evidence in a sentence; `` where it writes first, or says nothing. It was ready at begin_s, told to stop at
    stop_s.
    """
    acknowledged = [act.at_s for act in acts if act.how == "ok"]
    kept = [o for o in trace if o.changes and not o.is_opening_for_change]
    writes = [o.at_s for o in kept if roles.get(o.masked) in KEPT or roles.get(o.path2) in KEPT]
    if not acknowledged:
        return ""
    end_s = max(trace[-1].at_s if trace else 0.0, acknowledged[-1])
    before = begin_s
    windows: list[float] = []
    is_late = not any(begin_s < write <= acknowledged[0] for write in writes) and any(
        acknowledged[-1] < write < stop_s for write in writes
    )
    for moment in acknowledged:
        if is_late or not any(before < write <= moment for write in writes):
            windows.append(min((write for write in writes if write > moment), default=end_s) - moment)
        before = moment
    if len(windows) < SHARE_MIN * len(acknowledged):
        return ""
    return (
        f"write-behind: in a clean run {len(windows)} of {len(acknowledged)} acknowledgements come before any write of "
        f"their effect, which follows up to {_shown(max(windows))} s later"
    )


def _shown(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.3f}"
