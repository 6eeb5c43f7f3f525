"""Data arrive in small pieces, as readers that expect whole messages must bear."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class Slicer(msgspec.Struct, frozen=True):
    """Cut data into pieces of average_size bytes, give or take size_variation, delay us after each.

    An average_size of 0 or less cuts nothing.
    """

    type: ClassVar[str] = "slicer"
    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            at = 0
            while at < len(data):
                size = len(data) - at if pipe.interrupted else self._size(len(data) - at, pipe)
                await pipe.write(data[at : at + size])
                at += size
                await pipe.wait(self.delay / 1_000_000)

    def _size(self, left: int, pipe: Pipe) -> int:
        if self.average_size <= 0:
            return left
        pipe.act()
        spread = max(min(self.size_variation, self.average_size - 1), 0)
        return self.average_size + pipe.random.randint(-spread, spread)
