"""A service has time to let go of what its clients made it open. covers: L-2"""

from __future__ import annotations

import pytest

from blackstart.sandbox.layout import ProcessInfo
from blackstart.targets.releasing import AT_WORK, LOOK_EVERY_S, Releasing


class Told:
    """A process that holds so many descriptors, and has used the processor for so long, at each look."""

    def __init__(self, *looks: tuple[int, float]) -> None:
        self.looks = list(looks)
        self.now_s = 0.0

    def processes(self) -> list[ProcessInfo]:
        held, cpu_s = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [ProcessInfo(pid=2, outer_pid=0, descriptors=held, cpu_s=cpu_s)]

    def clock(self) -> float:
        self.now_s += LOOK_EVERY_S
        return self.now_s


@pytest.mark.parametrize(
    ("looks", "is_done", "is_busy"),
    [
        ([(8, 0.0), (58, 1.0), (30, 1.5), (9, 2.0)], True, False),
        ([(8, 0.0), (58, 1.0)], False, False),  # it stays so, and does nothing: they have leaked
        ([(8, 0.0), *((58, float(n)) for n in range(100))], False, True),
        ([(8, 0.0), *((58, float(n // 3)) for n in range(100))], False, False),  # it only ticks
    ],
)
def test_it_is_counted_when_it_is_done(looks: list[tuple[int, float]], is_done: bool, is_busy: bool) -> None:
    told = Told(*looks)
    releasing = Releasing(told.processes, told.clock)
    assert any(releasing.is_done() for _ in range(3 * AT_WORK)) == is_done
    assert releasing.is_busy is is_busy
