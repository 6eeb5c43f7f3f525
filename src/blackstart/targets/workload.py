"""What a workload says: one line for each thing that it asked of the service.

`ok ID` was acknowledged, `fail ID` refused, `info ID` has an unknown outcome (no answer came). A third word is how long
the answer took, in milliseconds. Any other line counts as acknowledged as it stands, so that a workload may be a
plain loop of `echo`. Pure.
"""

from __future__ import annotations

import math

from blackstart.core.history import Act, Output

OK, FAIL, INFO = "ok", "fail", "info"
ACTS_MAX = 200_000
_ID_MAX = 500


def acts(outputs: list[Output]) -> tuple[Act, ...]:
    """The workload's lines in order; a last line without its end was cut off, and is not counted."""
    found: list[Act] = []
    rest = b""
    for output in outputs:
        if output.stream != "stdout":
            continue
        *lines, rest = (rest + output.data).split(b"\n")
        for line in lines:
            act = read(line.decode("utf-8", "surrogateescape"), output.at_s)
            if act is not None and len(found) < ACTS_MAX:
                found.append(act)
    return tuple(found)


def read(line: str, at_s: float = 0.0) -> Act | None:
    """One line; None for an empty one."""
    words = line.split()
    if not words:
        return None
    if words[0] not in (OK, FAIL, INFO) or len(words) < 2:
        return Act(how=OK, id=line.strip()[:_ID_MAX], at_s=at_s)
    latency_ms = -1.0
    if len(words) > 2:
        try:
            told_ms = float(words[2])
        except ValueError:
            told_ms = math.nan
        if math.isfinite(told_ms):  # JSON has no other numbers
            latency_ms = max(told_ms, 0.0)
    return Act(how=words[0], id=words[1][:_ID_MAX], at_s=at_s, latency_ms=latency_ms)
