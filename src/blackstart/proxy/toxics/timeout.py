"""Data vanish, and after a while the connection is closed."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.pipe import Pipe


class Timeout(msgspec.Struct, frozen=True):
    """Drop all data; close the connection after timeout ms of silence, never if it is 0.

    Removing it closes the connections that lost data: they could not go on.
    """

    type: ClassVar[str] = "timeout"
    timeout: int = 0

    async def run(self, pipe: Pipe) -> None:
        try:
            while await pipe.read(self.timeout / 1000 if self.timeout > 0 else None):
                pipe.act()
        except TimeoutError:
            pipe.act()
            pipe.close()

    def removed(self, pipe: Pipe) -> None:
        pipe.close()
