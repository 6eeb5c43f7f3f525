"""A new connection waits before anybody looks at it: the kernel has answered, the service has not."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.interfaces import Visit


class SlowAccept(msgspec.Struct, frozen=True):
    """Dial the upstream delay ms after the client connected."""

    type: ClassVar[str] = "slow_accept"
    delay: int = 0

    async def admit(self, visit: Visit) -> bool:
        await visit.wait(self.delay / 1000)
        return True
