"""A datagram arrives twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from blackstart.proxy.interfaces import Flow


class Duplicate(msgspec.Struct, frozen=True):
    """Send each datagram again, delay ms after the first. Datagrams only."""

    type: ClassVar[str] = "duplicate"
    delay: int = 0

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]:
        yield 0.0, datagram
        yield max(self.delay, 0) / 1000, datagram
