"""The network is slow: everything arrives later, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from blackstart.core.randomness import Source
from blackstart.proxy.interfaces import Flow
from blackstart.proxy.pipe import Pipe


class Latency(msgspec.Struct, frozen=True):
    """Delay each chunk by latency ms, give or take jitter ms (uniform), counted from when it came in.

    Chunks of a stream stay in order; datagrams overtake each other, as they do on a real network.
    """

    type: ClassVar[str] = "latency"
    # What is on its way must fit, or the delay becomes a limit of bandwidth.
    room_bytes: ClassVar[int] = 32 * 2**20
    latency: int = 0
    jitter: int = 0

    async def run(self, pipe: Pipe) -> None:
        while True:
            came, data = await pipe.read_stamped()
            if not data:
                return
            await pipe.wait_until(came + self._delay_s(pipe.random))
            pipe.act()
            await pipe.write(data)

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]:
        yield self._delay_s(flow.random), datagram

    def _delay_s(self, random: Source) -> float:
        jitter = random.uniform(-self.jitter, self.jitter) if self.jitter > 0 else 0
        return max(self.latency + jitter, 0) / 1000
