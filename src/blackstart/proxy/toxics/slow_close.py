"""The end of a connection is noticed late."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class SlowClose(msgspec.Struct, frozen=True):
    """Data pass at once; the close that follows them comes delay ms later."""

    type: ClassVar[str] = "slow_close"
    delay: int = 0

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            await pipe.write(data)
        if pipe.ended and not pipe.interrupted:
            pipe.act()
            await pipe.wait(self.delay / 1000)
