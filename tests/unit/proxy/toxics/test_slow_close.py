"""slow_close delays the end alone."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.pipe import FIN
from blackstart.proxy.toxics.slow_close import SlowClose
from tests.unit.proxy.stage import Stand, removed


def test_data_pass_and_the_end_comes_late() -> None:
    async def run() -> None:
        stand = Stand(SlowClose(delay=60))
        stand.pipe.put(b"a")
        stand.pipe.end(FIN)
        began = SYSTEM.monotonic()
        await stand.until(lambda: stand.sink.data == b"a")
        assert stand.sink.ended == ""
        await stand.done()
        assert stand.sink.ended == "fin"
        assert SYSTEM.monotonic() - began >= 0.06

    asyncio.run(run())


def test_removing_it_closes_at_once() -> None:
    async def run() -> None:
        stand = Stand(SlowClose(delay=3_600_000))
        stand.pipe.end(FIN)
        await stand.until(lambda: stand.pipe.hits == 1)
        await stand.remove()
        assert stand.sink.ended == "fin"

    asyncio.run(run())


def test_removing_it_from_a_stream_that_goes_on_does_not_end_it() -> None:
    assert removed(SlowClose(delay=5), b"a").sink.ended == ""
