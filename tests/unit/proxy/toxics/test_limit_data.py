"""limit_data passes so many bytes and closes."""

from __future__ import annotations

import asyncio

import pytest

from blackstart.proxy.toxics.limit_data import LimitData
from tests.unit.proxy.stage import Stand, passed, removed


@pytest.mark.parametrize(("limit", "seen"), [(0, b""), (1, b"a"), (3, b"abc"), (4, b"abcd"), (-1, b"")])
def test_it_passes_exactly_so_many_and_closes(limit: int, seen: bytes) -> None:
    stand = passed(LimitData(bytes=limit), b"ab", b"cd", b"ef")
    assert (stand.sink.data, stand.sink.ended) == (seen, "close")


def test_exactly_at_the_limit_it_closes_too() -> None:
    async def run() -> str:
        stand = Stand(LimitData(bytes=2))
        stand.pipe.put(b"ab")
        await stand.done()
        return stand.sink.ended

    assert asyncio.run(run()) == "close"


def test_below_the_limit_it_does_nothing() -> None:
    stand = passed(LimitData(bytes=10), b"ab")
    assert (stand.sink.data, stand.sink.ended, stand.pipe.hits) == (b"ab", "fin", 0)


def test_what_has_passed_counts_on_after_a_change() -> None:
    async def run() -> bytes:
        stand = Stand(LimitData(bytes=100))
        stand.pipe.put(b"abcd")
        await stand.until(lambda: stand.sink.data == b"abcd")
        await stand.stage.stop()
        stand.stage.toxic.fault = LimitData(bytes=6)
        stand.stage.start()
        stand.pipe.put(b"efgh")
        await stand.done()
        return stand.sink.data

    assert asyncio.run(run()) == b"abcdef"


def test_removing_it_lifts_the_limit() -> None:
    assert removed(LimitData(bytes=100), b"ab").sink.data == b"ab"
