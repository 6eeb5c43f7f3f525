"""Nothing: bytes pass as they came. The toxic to copy when you write your own."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class Noop(msgspec.Struct, frozen=True):
    """Pass everything on."""

    type: ClassVar[str] = "noop"

    async def run(self, pipe: Pipe) -> None:
        async for data in pipe:
            await pipe.write(data)
