"""reset_peer resets at the first data or end."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.toxics.reset_peer import ResetPeer
from tests.unit.proxy.stage import Stand, passed, removed


def test_data_bring_the_reset() -> None:
    began = SYSTEM.monotonic()
    stand = passed(ResetPeer(timeout=30), b"a")
    assert SYSTEM.monotonic() - began >= 0.03
    assert (stand.was_reset, stand.sink.data, stand.pipe.hits) == (True, b"", 1)


def test_the_end_brings_it_too() -> None:
    assert passed(ResetPeer()).was_reset


def test_silence_does_not() -> None:
    async def run() -> None:
        stand = Stand(ResetPeer())
        await asyncio.sleep(0)
        assert not stand.was_reset
        await stand.remove()
        assert not stand.was_reset

    asyncio.run(run())


def test_removing_it_while_it_waits_lets_the_data_go() -> None:
    stand = removed(ResetPeer(timeout=3_600_000), b"a", b"b")
    assert (stand.was_reset, stand.sink.data) == (False, b"ab")
