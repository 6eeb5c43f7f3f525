"""Does a service let go of what its clients made it open, once they are gone?

It may still work through what they had asked, slowly: behind the gate each call takes longer. So it is counted once it
holds about what it held before they came, or when its time for that is over; then it matters whether it still worked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blackstart.sandbox.layout import ProcessInfo
from blackstart.targets import census

# What ticks by itself now and then is at rest between: at work is who did something before each of the last looks.
LOOK_EVERY_S, AT_WORK = 0.25, 3
# Those that it opened for other things meanwhile, a pool say, need not be closed.
FEW = 5


class Releasing:
    """Begun before they come."""

    def __init__(self, processes: Callable[[], Sequence[ProcessInfo]], now_s: Callable[[], float]) -> None:
        self._processes = processes
        self._now_s = now_s
        self._before = census.count(processes()).descriptors
        self._looked_s = 0.0
        self._seen: tuple[object, ...] = ()
        self._active = 0

    @property
    def is_busy(self) -> bool:
        """Whether it was at work at the last looks."""
        return self._active >= AT_WORK

    def is_done(self) -> bool:
        """Whether it holds no more than a few more than before; looks at it now and then."""
        if self._now_s() < self._looked_s + LOOK_EVERY_S:
            return False
        self._looked_s = self._now_s()
        processes = self._processes()
        held = census.count(processes).descriptors
        seen = (held, census.effort(processes))
        self._active = self._active + 1 if self._seen and seen != self._seen else 0
        self._seen = seen
        return held <= self._before + FEW
