"""latency delays, in order."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.toxics.latency import Latency
from tests.unit.proxy.stage import Stand, delivered, passed, removed


def test_nothing_comes_early() -> None:
    began = SYSTEM.monotonic()
    stand = passed(Latency(latency=50), b"a", b"b")
    assert SYSTEM.monotonic() - began >= 0.05
    assert (stand.sink.chunks, stand.pipe.hits) == ([b"a", b"b"], 2)


def test_chunks_that_came_together_are_delayed_together() -> None:
    async def run() -> float:
        stand = Stand(Latency(latency=200))
        for _ in range(200):
            stand.pipe.put(b"x")
        began = SYSTEM.monotonic()
        await stand.until(lambda: len(stand.sink.chunks) == 200)
        return SYSTEM.monotonic() - began

    # One after the other they would take forty seconds.
    assert 0.2 <= asyncio.run(run()) < 40


def test_removing_it_sends_what_waits_at_once_and_in_order() -> None:
    assert removed(Latency(latency=3_600_000), b"a", b"b", b"c").sink.chunks == [b"a", b"b", b"c"]


def test_a_negative_latency_is_none() -> None:
    assert passed(Latency(latency=-5), b"a").sink.data == b"a"


def test_jitter_is_drawn_from_the_seed_and_stays_in_its_bounds() -> None:
    delays = [delay for delay, _ in delivered(Latency(latency=100, jitter=10), *[b"x"] * 200)]
    assert all(0.09 <= delay <= 0.11 for delay in delays)
    assert max(delays) - min(delays) > 0.015
    assert delays == [delay for delay, _ in delivered(Latency(latency=100, jitter=10), *[b"x"] * 200)]
