"""Packets are lost. A lost datagram is gone; lost bytes of a stream come late, because TCP sends them again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from blackstart.core.randomness import Source
from blackstart.proxy.interfaces import Flow, outside
from blackstart.proxy.pipe import Pipe

# The least retransmission time-out of Linux; it doubles with each loss in a row (RFC 6298).
RETRANSMIT_S, RETRANSMIT_S_MAX = 0.2, 120.0


class PacketLoss(msgspec.Struct, frozen=True):
    """loss_rate: chance of a loss, 0 to 1; correlation: added to it right after a loss."""

    type: ClassVar[str] = "packet_loss"
    loss_rate: float = 0.0
    correlation: float = 0.0

    def wrong(self) -> str:
        return outside(0, 1, loss_rate=self.loss_rate, correlation=self.correlation)

    async def run(self, pipe: Pipe) -> None:
        memory: dict[str, Any] = {}
        async for data in pipe:
            timeout_s = RETRANSMIT_S
            while not pipe.interrupted and self._is_lost(memory, pipe.random):
                pipe.act()
                await pipe.wait(timeout_s)
                timeout_s = min(2 * timeout_s, RETRANSMIT_S_MAX)
            await pipe.write(data)

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]:
        if not self._is_lost(flow.memory, flow.random):
            yield 0.0, datagram

    def _is_lost(self, memory: dict[str, Any], random: Source) -> bool:
        chance = self.loss_rate + (self.correlation if memory.get("lost") else 0)
        memory["lost"] = random.random() < chance
        return bool(memory["lost"])
