"""Time as an interface, so that nobody sleeps in tests.

The module keeps private copies of the standard functions: a program under test in the same process may replace them.
"""

from __future__ import annotations

import time
from typing import Protocol

_monotonic = time.monotonic
_sleep = time.sleep
_time = time.time


class Clock(Protocol):
    """monotonic() in seconds; sleep(seconds); spend(seconds): with the processor busy; now(): seconds since 1970."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    def spend(self, seconds: float) -> None: ...
    def now(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    # Not methods that call them: the gate asks for the time at each call of its target.
    monotonic = staticmethod(_monotonic)
    sleep = staticmethod(_sleep)
    now = staticmethod(_time)

    def spend(self, seconds: float) -> None:
        until = _monotonic() + seconds
        while _monotonic() < until:
            pass


class ManualClock:
    """A clock that moves only when it is told to; `sleep` and `spend` move it."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def spend(self, seconds: float) -> None:
        self._now += seconds


SYSTEM = SystemClock()
