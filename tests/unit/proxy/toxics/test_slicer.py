"""slicer cuts data into small pieces."""

from __future__ import annotations

import pytest

from blackstart.proxy.toxics.slicer import Slicer
from tests.unit.proxy.stage import passed, removed

DATA = bytes(range(256)) * 8


@pytest.mark.parametrize(("size", "spread"), [(1, 0), (7, 3), (100, 0), (10, 10), (3, 500)])
def test_pieces_have_the_size_and_join_to_what_came(size: int, spread: int) -> None:
    stand = passed(Slicer(average_size=size, size_variation=spread), DATA)
    assert stand.sink.data == DATA
    assert len(stand.sink.chunks) > 1
    within = min(spread, size - 1)
    assert all(size - within <= len(piece) <= size + within for piece in stand.sink.chunks[:-1])


@pytest.mark.parametrize("size", [0, -4])
def test_no_size_cuts_nothing(size: int) -> None:
    assert passed(Slicer(average_size=size, size_variation=9), DATA).sink.chunks == [DATA]


def test_removing_it_loses_nothing() -> None:
    assert removed(Slicer(average_size=10, delay=3_600_000_000), DATA, b"end").sink.data == DATA + b"end"
