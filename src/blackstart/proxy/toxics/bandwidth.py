"""The network is narrow: so many kilobytes a second and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.proxy.pipe import Pipe

TICK_S = 0.1


class Bandwidth(msgspec.Struct, frozen=True):
    """rate: KB/s (of 1000 bytes) for each connection, or for all together where shared is not 0.

    A rate of 0 lets nothing through until the toxic is removed; a negative one is no limit.
    """

    type: ClassVar[str] = "bandwidth"
    rate: int = 0
    shared: int = 0

    async def run(self, pipe: Pipe) -> None:
        if self.rate == 0:
            pipe.act()
            await pipe.interruption()
            return
        # The time at which the line is free again.
        line = pipe.shared if self.shared else {}
        async for data in pipe:
            for piece in self._pieces(data):
                if self.rate > 0:
                    pipe.act()
                    start = max(line.get("free", 0.0), SYSTEM.monotonic())
                    line["free"] = start + len(piece) / (self.rate * 1000)
                    await pipe.wait_until(line["free"])
                await pipe.write(piece)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        size = max(int(self.rate * 1000 * TICK_S), 1) if self.rate > 0 else len(data)
        for at in range(0, len(data), size):
            yield data[at : at + size]
