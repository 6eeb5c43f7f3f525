"""Does a service acknowledge before it writes? Told from a clean run, in which nothing is broken.

An acknowledgement that comes with no write to any state file since the one before it has no effect yet that could
outlive the process. Where that is so of most, it is write-behind: a trade-off of its configuration, and not a defect.
So it is where each write comes just after its acknowledgement, and so before the next one: nothing was written before
the first, and something after the last while the service was still left alone. The window is the time from such an
acknowledgement to the next write. A segment of a log that a snapshot replaces later is scratch, and holds the effect as
long as it is there; what is removed before the answer, as a request's body on its way, holds nothing. Writes and
acknowledgements are seen by one loop, each write before the kernel carries it out, so their order is certain. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blackstart.core.history import Act
from blackstart.core.trace import Operation

SHARE_MIN = 0.5
KEPT, SCRATCH = ("state", "output"), "scratch"
_REMOVALS = ("unlink", "unlinkat")


def write_behind(
    trace: Sequence[Operation], acts: Sequence[Act], roles: Mapping[str, str], begin_s: float = 0.0, stop_s: float = 0.0
) -> str:
    """The evidence in a sentence; `` where it writes first, or says nothing. It was ready at begin_s, told to stop at
    stop_s.
    """
    acknowledged = [act.at_s for act in acts if act.how == "ok"]
    kept = [o for o in trace if o.changes and not o.is_opening_for_change]
    writes = [o.at_s for o in kept if roles.get(o.masked) in KEPT or roles.get(o.path2) in KEPT]
    passing = _passing([o for o in kept if roles.get(o.masked) == SCRATCH])
    if not acknowledged:
        return ""
    end_s = max(trace[-1].at_s if trace else 0.0, acknowledged[-1])
    before = begin_s
    windows: list[float] = []

    def is_written(since_s: float, moment: float) -> bool:
        return any(since_s < write <= moment for write in writes) or any(
            since_s < write <= moment < gone_s for write, gone_s in passing
        )

    is_late = not is_written(begin_s, acknowledged[0]) and any(acknowledged[-1] < write < stop_s for write in writes)
    for moment in acknowledged:
        if is_late or not is_written(before, moment):
            windows.append(min((write for write in writes if write > moment), default=end_s) - moment)
        before = moment
    if len(windows) < SHARE_MIN * len(acknowledged):
        return ""
    return (
        f"write-behind: in a clean run {len(windows)} of {len(acknowledged)} acknowledgements come before any write of "
        f"their effect, which follows up to {_shown(max(windows))} s later"
    )


def _passing(scratch: Sequence[Operation]) -> list[tuple[float, float]]:
    """(when it was written, when its file was removed), of each write; never is infinity."""
    gone_s: dict[str, float] = {}
    found = []
    for operation in reversed(scratch):
        if operation.call in _REMOVALS:
            gone_s[operation.path] = operation.at_s
        else:
            found.append((operation.at_s, gone_s.get(operation.path, float("inf"))))
    return found


def _shown(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.3f}"
