"""bandwidth lets so many bytes a second through."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.toxics.bandwidth import Bandwidth
from tests.unit.proxy.stage import Stand, passed, removed


def test_bytes_take_their_time() -> None:
    began = SYSTEM.monotonic()
    stand = passed(Bandwidth(rate=1000), b"x" * 150_000)
    assert SYSTEM.monotonic() - began >= 0.15
    assert len(stand.sink.data) == 150_000
    assert max(map(len, stand.sink.chunks)) <= 100_000


def test_a_rate_of_nought_holds_all_until_it_is_removed() -> None:
    async def run() -> None:
        stand = Stand(Bandwidth())
        stand.pipe.put(b"ab")
        await stand.until(lambda: stand.pipe.hits == 1)
        assert stand.sink.chunks == []
        await stand.remove()
        assert stand.sink.data == b"ab"

    asyncio.run(run())


def test_a_negative_rate_is_no_limit() -> None:
    assert passed(Bandwidth(rate=-1), b"x" * 1000).sink.data == b"x" * 1000


def test_removing_it_loses_nothing_of_a_piece_in_hand() -> None:
    data = bytes(range(256)) * 100
    assert removed(Bandwidth(rate=1), data, b"end").sink.data == data + b"end"


def test_a_shared_line_is_one_for_all() -> None:
    async def run() -> float:
        stands = [Stand(Bandwidth(rate=100, shared=1)) for _ in range(2)]
        stands[1].pipe.shared = stands[0].pipe.shared
        for stand in stands:
            stand.pipe.put(b"x" * 10_000)
        began = SYSTEM.monotonic()
        await stands[0].until(lambda: all(stand.sink.data for stand in stands))
        return SYSTEM.monotonic() - began

    assert asyncio.run(run()) >= 0.2
