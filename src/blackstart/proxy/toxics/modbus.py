"""A Modbus TCP device answers with an exception, with the wrong transaction, or not at all."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.framing import NotThisProtocol, messages
from blackstart.proxy.interfaces import outside
from blackstart.proxy.pipe import Pipe

# MODBUS Messaging on TCP/IP, 3.1.3: transaction, protocol (0), length of what follows, unit; then function and data.
_HEADER_BYTES, _LENGTH_MAX = 6, 254


class Modbus(msgspec.Struct, frozen=True):
    """Change each `every`-th answer (0: each).

    exception: the code to answer with, 0 for none; wrong_id: not 0 for another transaction; silent: not 0 for no
    answer.
    """

    type: ClassVar[str] = "modbus"
    exception: int = 0
    wrong_id: int = 0
    silent: int = 0
    every: int = 1

    def wrong(self) -> str:
        return outside(0, 255, exception=self.exception)

    async def run(self, pipe: Pipe) -> None:
        count = 0
        async for answer in messages(pipe, measure):
            count += 1
            if count % max(self.every, 1):
                await pipe.write(answer)
                continue
            pipe.act()
            if not self.silent:
                await pipe.write(self._changed(answer))

    def _changed(self, answer: bytes) -> bytes:
        changed = bytearray(answer)
        if self.wrong_id:
            changed[1] ^= 0xFF
        if self.exception:
            changed[4:6] = (3).to_bytes(2, "big")
            changed[7:] = bytes([changed[7] | 0x80, self.exception & 0xFF])
        return bytes(changed)


def measure(buffer: bytearray) -> int:
    """The length of the frame that a buffer begins with."""
    if len(buffer) < _HEADER_BYTES:
        return 0
    length = int.from_bytes(buffer[4:6], "big")
    if buffer[2:4] != b"\0\0" or not 2 <= length <= _LENGTH_MAX:
        raise NotThisProtocol
    return _HEADER_BYTES + length
