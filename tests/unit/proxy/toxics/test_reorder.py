"""reorder holds some datagrams back."""

from __future__ import annotations

from blackstart.proxy.toxics.reorder import Reorder
from tests.unit.proxy.stage import delivered


def test_a_share_is_held_back_and_none_is_lost() -> None:
    out = delivered(Reorder(delay=10, percent=30), *[b"x"] * 1000)
    assert len(out) == 1000
    assert {delay for delay, _ in out} == {0.0, 0.01}
    assert 240 < sum(delay > 0 for delay, _ in out) < 360
