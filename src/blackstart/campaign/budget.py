"""How long a run may take, and whether one more trial still fits.

A trial cannot be cut short without losing it. So none begins that, going by the last ones, would end after the budget.
What takes longer all the same is given up: soon if it is only one more trial, after one start's patience if a failure
waits for its repetition.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import NoReturn

from blackstart.core.clock import Clock
from blackstart.core.errors import Undecided
from blackstart.core.units import format_duration

CALIBRATION_SHARE = 1 / 3
# Working out the points of one kind from one start; a recording begins while no more than so much is used up.
CHOOSING_SHARE, RECORDING_SHARE = 1 / 12, 1 / 2
LATE_SHARE, LATE_MIN_S, LATE_MAX_S = 1 / 6, 2.0, 30.0
RECENT = 10
GRACE_MIN_S = 2.0


def enough(seconds: float) -> str:
    """A budget of more than so much, as one would write it: in full minutes where it is more than two."""
    unit_s = 1 if seconds < 120 else 60
    return format_duration(unit_s * (math.floor(seconds / unit_s) + 1))


class Budget:
    """total_s: from now on, math.inf where a number of trials is given instead."""

    def __init__(self, total_s: float, clock: Clock) -> None:
        self.total_s = total_s
        self._clock = clock
        self._began_s = clock.monotonic()
        self._step_s = self._step_began_s = 0.0
        self._trials_s: deque[float] = deque(maxlen=RECENT)

    def elapsed_s(self) -> float:
        """Since it was made."""
        return self._clock.monotonic() - self._began_s

    def left_s(self) -> float:
        """Until its end; negative after it."""
        return self.total_s - self.elapsed_s()

    @property
    def calibration_s(self) -> float:
        """What calibration may take of it."""
        return self.total_s * CALIBRATION_SHARE

    def is_calibration_over(self) -> bool:
        """Whether calibration has taken its part."""
        return self.elapsed_s() > self.calibration_s

    @property
    def late_s(self) -> float:
        """How long a repetition waits for a lock to expire: a small part of it, and of what is left."""
        return max(LATE_MIN_S, min(LATE_MAX_S, self.total_s * LATE_SHARE, self.left_s() / 2))

    def took(self, seconds: float) -> None:
        """A trial ended that took so long."""
        self._trials_s.append(seconds)

    @property
    def trial_s(self) -> float:
        """How long a trial takes, going by the last ones; one that hung tells nothing about the next."""
        return median(self._trials_s) if self._trials_s else 0.0

    def is_spent(self) -> bool:
        """Whether there is no time for one more trial."""
        return self.left_s() <= self.trial_s

    @property
    def choosing_s(self) -> float:
        """How long the points of one kind from one start may be worked out."""
        return self.total_s * CHOOSING_SHARE

    def may_record(self) -> bool:
        """Whether there is time for recordings that only some kinds need."""
        return self.elapsed_s() <= self.total_s * RECORDING_SHARE

    def begin_step(self, done: float) -> None:
        """A clean run begins, with all the copying and reading around it; done: what part of calibration it ends.

        Raise where, going by the one before, it would outlast the budget.
        """
        if self.left_s() <= self._step_s:
            needed_s = max(self.elapsed_s() + self._step_s, self.elapsed_s() / done)
            self._raise_undecided("alone would take longer", needed_s)
        self._step_began_s = self.elapsed_s()

    def end_step(self) -> None:
        """It ended."""
        self._step_s = self.elapsed_s() - self._step_began_s

    def must_last(self) -> None:
        """Raise where calibration has used it all up."""
        if self.left_s() <= 0:
            self._raise_undecided(f"alone took {self.elapsed_s():.0f} s, more", self.elapsed_s())

    def _raise_undecided(self, what: str, needed_s: float) -> NoReturn:
        raise Undecided(
            f"calibration {what} than the budget",
            next_step=f"give it more: --budget {enough(needed_s / CALIBRATION_SHARE)}",
        )

    def nulls_s(self, *, is_awaited: bool) -> float:
        """How long null trials may still take: those that there must be, all of it; any more, calibration's part."""
        return self.left_s() if is_awaited else self.calibration_s - self.elapsed_s()

    def lasting_s(self) -> float:
        """Until its end, for what must not outlast it; raises after it."""
        self.must_last()
        return self.left_s()

    def grace_s(self, patience_s: float, *, is_awaited: bool) -> float:
        """How long what runs may still take; is_awaited: whether a failure waits for its repetition."""
        more_s = patience_s if is_awaited else min(patience_s, max(self.trial_s, GRACE_MIN_S))
        return self.left_s() + more_s
