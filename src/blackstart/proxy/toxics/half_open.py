"""The other side is gone and nobody was told: a pulled cable, a machine without power."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class HalfOpen(msgspec.Struct, frozen=True):
    """After so many bytes nothing passes any more, neither data nor close, while the connection stays open.

    Removing it closes the connections that lost data.
    """

    type: ClassVar[str] = "half_open"
    bytes: int = 0

    async def run(self, pipe: Pipe) -> None:
        while data := await pipe.read():
            if left := max(self.bytes - pipe.passed_bytes, 0):
                await pipe.write(data[:left])
            if len(data) > left:
                pipe.act()
        if not pipe.interrupted:
            pipe.act()
            await pipe.interruption()

    def removed(self, pipe: Pipe) -> None:
        if pipe.hits:
            pipe.close()
