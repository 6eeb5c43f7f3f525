"""The connection is reset: RST instead of an end."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class ResetPeer(msgspec.Struct, frozen=True):
    """At the first data or close, wait timeout ms, then reset both sides. A silent connection is left alone."""

    type: ClassVar[str] = "reset_peer"
    timeout: int = 0

    async def run(self, pipe: Pipe) -> None:
        data = await pipe.read()
        if pipe.interrupted or not await pipe.wait(self.timeout / 1000):
            if data:
                await pipe.write(data)
            return
        pipe.act()
        pipe.reset()
