"""Time for the code under test: `replaced()` for code as it is, and clocks to hand in to code that takes one.

    with replaced() as clock:
        retry_for_two_minutes()
    assert clock.skipped_s >= 120

In pytest the fixture `clock` is the same. A `ManualClock` moves only when it is told to, and by `sleep`.
"""

from blackstart.core.clock import SYSTEM, Clock, ManualClock, SystemClock
from blackstart.inprocess.clock import ReplacedClock, after, current, replaced

__all__ = ["SYSTEM", "Clock", "ManualClock", "ReplacedClock", "SystemClock", "after", "current", "replaced"]
