"""corrupt flips bits where it says."""

from __future__ import annotations

import pytest

from blackstart.proxy.toxics.corrupt import Corrupt
from tests.unit.proxy.stage import delivered, passed, removed


def changed(before: bytes, after: bytes) -> list[int]:
    assert len(before) == len(after)
    assert all((one ^ other).bit_count() <= 1 for one, other in zip(before, after, strict=True))
    return [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]


@pytest.mark.parametrize(
    ("fault", "places"),
    [
        (Corrupt(), [0]),
        (Corrupt(offset=5), [5]),
        (Corrupt(offset=2, every=6), [2, 8, 14]),
        (Corrupt(offset=100), []),
        (Corrupt(offset=-3, every=-1), [0]),
    ],
)
def test_it_flips_one_bit_at_each_place_wherever_chunks_end(fault: Corrupt, places: list[int]) -> None:
    stand = passed(fault, bytes(7), bytes(1), bytes(8))
    assert changed(bytes(16), stand.sink.data) == places
    assert stand.pipe.hits == len(places)


def test_one_bit_of_a_datagram() -> None:
    ((delay, data),) = delivered(Corrupt(), bytes(50))
    assert delay == 0
    assert len(changed(bytes(50), data)) == 1
    assert delivered(Corrupt(), b"") == [(0.0, b"")]


def test_removing_it_loses_nothing() -> None:
    assert removed(Corrupt(offset=99), b"a", b"b").sink.data == b"ab"
