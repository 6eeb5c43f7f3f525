"""What comes again and again by itself, told from a trace."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from blackstart.core.trace import FILE, Operation
from blackstart.surface.effects import effects, period_s

EVERY_SECOND = [1.0, 2.02, 2.98, 4.0, 5.01, 6.0, 7.0, 8.0, 9.0, 10.0]


def trace(call: str, path: str, moments: Iterable[float], kind: str = FILE) -> list[Operation]:
    return [Operation(index=k, call=call, path=path, kind=kind, at_s=at) for k, at in enumerate(moments)]


@pytest.mark.parametrize(
    ("moments", "period"),
    [
        (EVERY_SECOND, 1.0),
        (EVERY_SECOND[:4], 0.0),  # too seldom
        (EVERY_SECOND[:6], 0.0),  # it has ended by itself
        ([0.0, 0.5, 3.0, 3.2, 7.0, 10.0], 0.0),  # now and then
        ([at + more for at in EVERY_SECOND for more in (0.0, 0.01, 0.02)], 1.0),  # several times in a moment
    ],
)
def test_periodic_is_what_comes_five_times_evenly_until_the_end(moments: list[float], period: float) -> None:
    assert period_s(moments, 10.5) == pytest.approx(period, abs=0.01)


def test_what_nobody_else_can_see_is_no_effect() -> None:
    seen = [*trace("read", "/etc/config", EVERY_SECOND), *trace("newfstatat", "/etc/config", EVERY_SECOND)]
    assert effects(seen, 0.0, 10.5) == ()


def test_what_has_one_period_is_one_effect() -> None:
    seen = [
        *trace("write", "/srv/ticks", EVERY_SECOND),
        *trace("pwrite64", "/srv/jobs", EVERY_SECOND),
        *trace("write", "stdout", [1.0 + 0.5 * k for k in range(20)], kind=""),
    ]
    assert [(round(e.period_s, 1), len(e.names)) for e in effects(seen, 0.0, 10.6)] == [(0.5, 1), (1.0, 2)]


def test_only_what_it_does_while_it_is_watched_counts() -> None:
    assert effects(trace("write", "/srv/ticks", EVERY_SECOND), 7.5, 10.5) == ()
