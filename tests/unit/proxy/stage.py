"""A toxic between a source and a sink, without sockets: what it lets through, how it ended, how often it acted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.proxy.interfaces import Flow
from blackstart.proxy.pipe import FIN, Pipe
from blackstart.proxy.toxic import Toxic


class Sink:
    """Takes what comes. full: pretend that there is no room."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = ""
        self.full = False
        self._room: set[Callable[[], None]] = set()

    @property
    def is_full(self) -> bool:
        return self.full

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def put(self, data: bytes) -> None:
        self.chunks.append(data)

    def end(self, how: str) -> None:
        self.ended = how

    def when_room(self, callback: Callable[[], None]) -> None:
        self._room.add(callback)

    def drain(self) -> None:
        """There is room again."""
        self.full = False
        for callback in self._room:
            callback()


class Stand:
    """A toxic at work. The test feeds it with `stage.pipe.put` and looks at `sink`."""

    def __init__(self, fault: Any, seed: int = 1) -> None:
        from blackstart.proxy.link import Stage

        self.sink = Sink()
        self.was_reset = False
        toxic = Toxic("t", "downstream", fault)
        self.pipe = Pipe(self.sink, self._reset, partial(Seed(seed).source, "draws"), toxic.shared)
        self.stage = Stage(toxic, self.pipe)

    def _reset(self) -> None:
        self.was_reset = True

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition, with a deadline."""
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.001)

    async def done(self) -> None:
        """Wait for the toxic's end."""
        async with asyncio.timeout(60):
            await self.stage.task

    async def remove(self) -> None:
        """Take the toxic out, as a link does."""
        await self.stage.stop()
        self.pipe.hand_over()


def passed(fault: Any, *chunks: bytes, seed: int = 1) -> Stand:
    """The stand after these chunks and the end of the stream went through."""

    async def run() -> Stand:
        stand = Stand(fault, seed)
        for chunk in chunks:
            stand.pipe.put(chunk)
        stand.pipe.end(FIN)
        await stand.done()
        return stand

    return asyncio.run(run())


def removed(fault: Any, *chunks: bytes) -> Stand:
    """The stand after the toxic was taken out while these chunks were on their way."""

    async def run() -> Stand:
        stand = Stand(fault)
        for chunk in chunks:
            stand.pipe.put(chunk)
        # Let it begin with the first of them.
        for _ in range(3):
            await asyncio.sleep(0)
        await stand.remove()
        return stand

    return asyncio.run(run())


def delivered(fault: Any, *datagrams: bytes, seed: int = 1) -> list[tuple[float, bytes]]:
    """What arrives instead of these datagrams of one flow."""
    flow = Flow(Seed(seed).source("flow"))
    return [one for datagram in datagrams for one in fault.deliver(datagram, flow)]
