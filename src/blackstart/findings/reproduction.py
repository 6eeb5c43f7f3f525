"""When is a failure shown as a finding: after 2 of 2 repeats, or 3 of 5, with the counts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """shown: it reproduced; more: how many repeats are still needed to decide; failed of repeats so far."""

    failed: int
    repeats: int
    shown: bool
    more: int

    def __str__(self) -> str:
        return f"{self.failed} of {self.repeats}"


def reproduction(repeats: Sequence[bool]) -> Reproduction:
    """Judge repeats of one trial; True where it failed again in the same way."""
    failed, count = sum(repeats), len(repeats)
    shown = (count >= 2 and all(repeats[:2])) or failed >= 3
    if shown:
        more = 0
    elif count < 2:
        more = 2 - count
    else:
        more = 5 - count if failed + (5 - count) >= 3 else 0
    return Reproduction(failed=failed, repeats=count, shown=shown, more=max(0, more))
