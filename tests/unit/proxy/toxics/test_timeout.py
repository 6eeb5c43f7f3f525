"""timeout drops data and closes after silence."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.toxics.timeout import Timeout
from tests.unit.proxy.stage import Stand, passed


def test_it_drops_and_closes_after_silence() -> None:
    async def run() -> None:
        stand = Stand(Timeout(timeout=40))
        began = SYSTEM.monotonic()
        stand.pipe.put(b"a")
        await stand.done()
        assert SYSTEM.monotonic() - began >= 0.04
        assert (stand.sink.data, stand.sink.ended) == (b"", "close")

    asyncio.run(run())


def test_without_a_time_it_never_closes_by_itself() -> None:
    async def run() -> None:
        stand = Stand(Timeout())
        stand.pipe.put(b"a")
        await stand.until(lambda: stand.pipe.hits == 1)
        assert not stand.stage.task.done()
        stand.stage.task.cancel()

    asyncio.run(run())


def test_the_end_of_the_stream_passes() -> None:
    assert passed(Timeout(), b"a").sink.ended == "fin"


def test_removing_it_closes_the_connection() -> None:
    async def run() -> None:
        stand = Stand(Timeout())
        stand.pipe.put(b"a")
        await stand.stage.stop()
        Timeout().removed(stand.pipe)
        assert stand.sink.ended == "close"

    asyncio.run(run())
