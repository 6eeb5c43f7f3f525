"""A datagram is overtaken by those that follow it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from blackstart.proxy.interfaces import Flow, outside


class Reorder(msgspec.Struct, frozen=True):
    """Hold a datagram back for delay ms with the chance of percent; the others pass. Datagrams only."""

    type: ClassVar[str] = "reorder"
    delay: int = 10
    percent: int = 50

    def wrong(self) -> str:
        return outside(0, 100, percent=self.percent)

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]:
        held = flow.random.random() * 100 < self.percent
        yield (max(self.delay, 0) / 1000 if held else 0.0), datagram
