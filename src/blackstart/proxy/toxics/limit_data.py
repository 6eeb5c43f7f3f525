"""The connection is closed after so many bytes, in the middle of a message."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class LimitData(msgspec.Struct, frozen=True):
    """Pass exactly so many bytes on each connection, then close it; what has passed counts on when bytes changes."""

    type: ClassVar[str] = "limit_data"
    bytes: int = 0

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            left = max(self.bytes - pipe.passed_bytes, 0)
            if left:
                await pipe.write(data[:left])
            if len(data) >= left:
                pipe.act()
                pipe.close()
                return
