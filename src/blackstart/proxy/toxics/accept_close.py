"""The connection is accepted and closed before a byte, as an overloaded service or a load balancer does it."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.interfaces import Visit


class AcceptClose(msgspec.Struct, frozen=True):
    """Close a new connection at once, with RST instead of FIN where reset is not 0. The upstream hears nothing."""

    type: ClassVar[str] = "accept_close"
    reset: int = 0

    async def admit(self, visit: Visit) -> bool:
        visit.reset = self.reset != 0
        return False
