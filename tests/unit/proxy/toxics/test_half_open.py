"""half_open goes silent without a word."""

from __future__ import annotations

import asyncio

from blackstart.proxy.pipe import FIN
from blackstart.proxy.toxics.half_open import HalfOpen
from tests.unit.proxy.stage import Stand


def test_neither_data_nor_the_end_pass_after_the_limit() -> None:
    async def run() -> None:
        stand = Stand(HalfOpen(bytes=3))
        stand.pipe.put(b"abcdef")
        stand.pipe.end(FIN)
        await stand.until(lambda: stand.pipe.hits == 2)
        assert (stand.sink.data, stand.sink.ended) == (b"abc", "")
        assert not stand.stage.task.done()
        await stand.stage.stop()
        HalfOpen().removed(stand.pipe)
        assert stand.sink.ended == "close"

    asyncio.run(run())


def test_a_connection_that_lost_nothing_lives_on_when_it_is_removed() -> None:
    async def run() -> None:
        stand = Stand(HalfOpen(bytes=3))
        stand.pipe.put(b"ab")
        await stand.until(lambda: stand.sink.data == b"ab")
        await stand.stage.stop()
        HalfOpen().removed(stand.pipe)
        assert stand.sink.ended == ""

    asyncio.run(run())
