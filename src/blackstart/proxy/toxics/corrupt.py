"""Bits flip on the way, as they do where a checksum is too weak or missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from blackstart.proxy.interfaces import Flow
from blackstart.proxy.pipe import Pipe


class Corrupt(msgspec.Struct, frozen=True):
    """Flip one random bit of the byte at offset, and of each one `every` bytes later (0: of no other).

    Of a datagram, one random bit anywhere.
    """

    type: ClassVar[str] = "corrupt"
    offset: int = 0
    every: int = 0

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            changed = bytearray(data)
            for at in self._places(pipe.passed_bytes, len(data)):
                changed[at] ^= 1 << pipe.random.randrange(8)
                pipe.act()
            await pipe.write(bytes(changed))

    def _places(self, before: int, length: int) -> Iterable[int]:
        first, step = max(self.offset, 0) - before, self.every
        if first < 0 and step > 0:
            first %= step
        if first < 0:
            return ()
        return range(first, length, step) if step > 0 else range(first, min(first + 1, length))

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]:
        changed = bytearray(datagram)
        if changed:
            changed[flow.random.randrange(len(changed))] ^= 1 << flow.random.randrange(8)
        yield 0.0, bytes(changed)
