"""An MQTT broker refuses a client, or drops it."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from blackstart.proxy.framing import NotThisProtocol, messages
from blackstart.proxy.interfaces import outside
from blackstart.proxy.pipe import Pipe

# MQTT 5.0, 2.1: type and flags, then the length of the rest in one to four bytes of seven bits.
_CONNACK, _LENGTH_BYTES_MAX = 2, 4


class Mqtt(msgspec.Struct, frozen=True):
    """Act on what the broker sends.

    connack: the code that refuses a connection (3.1.1: 1 to 5; 5.0: 128 and above), 0 for none; disconnect: close the
    connection after so many packets, 0 for never.
    """

    type: ClassVar[str] = "mqtt"
    connack: int = 0
    disconnect: int = 0

    def wrong(self) -> str:
        return outside(0, 255, connack=self.connack)

    async def run(self, pipe: Pipe) -> None:
        count = 0
        async for packet in messages(pipe, measure):
            count += 1
            if self.connack and packet[0] >> 4 == _CONNACK:
                pipe.act()
                code_at = _header_bytes(packet) + 1
                # A broker that refuses has no session, and closes.
                changed = bytes([0, self.connack & 0xFF])
                await pipe.write(packet[: code_at - 1] + changed + packet[code_at + 1 :])
                pipe.close()
                return
            await pipe.write(packet)
            if self.disconnect and count >= self.disconnect:
                pipe.act()
                pipe.close()
                return


def _header_bytes(packet: bytes | bytearray) -> int:
    at = 1
    while packet[at] & 0x80:
        at += 1
    return at + 1


def measure(buffer: bytearray) -> int:
    """The length of the packet that a buffer begins with."""
    if buffer and buffer[0] >> 4 == 0:
        raise NotThisProtocol
    length = 0
    for at in range(_LENGTH_BYTES_MAX):
        if len(buffer) < at + 2:
            return 0
        length |= (buffer[at + 1] & 0x7F) << (7 * at)
        if not buffer[at + 1] & 0x80:
            return at + 2 + length
    raise NotThisProtocol
