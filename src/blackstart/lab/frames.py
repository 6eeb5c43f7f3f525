"""What the relay must know of an Ethernet frame: where it goes, and whether a fault means it."""

from __future__ import annotations

import struct

BROADCAST = b"\xff" * 6
_IPV4, _ARP = 0x0800, 0x0806
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
_HAS_PORTS = (6, 17)
_SYN, _ACK = 2, 16


def is_address_resolution(frame: memoryview) -> bool:
    """ARP is spared by every fault but a partition: losing it would count each first packet twice."""
    return len(frame) >= 14 and struct.unpack_from("!H", frame, 12)[0] == _ARP


def connection(frame: memoryview) -> tuple[bytes, bool] | None:
    """Of a TCP segment: its connection, the same for both directions, and whether it asks for a new one."""
    if len(frame) < 34 or struct.unpack_from("!H", frame, 12)[0] != _IPV4 or frame[23] != _PROTOCOLS["tcp"]:
        return None
    at = 14 + (frame[14] & 15) * 4
    if struct.unpack_from("!H", frame, 20)[0] & 0x1FFF or len(frame) < at + 14:
        return None
    source = bytes(frame[26:30]) + bytes(frame[at : at + 2])
    destination = bytes(frame[30:34]) + bytes(frame[at + 2 : at + 4])
    return min(source, destination) + max(source, destination), frame[at + 13] & (_SYN | _ACK) == _SYN


def matches(frame: memoryview, protocol: str, port: int) -> bool:
    """Whether it carries this protocol (`` for any) from or to this port (0 for any).

    Of a fragmented datagram only the first fragment has ports; the others match no port.
    """
    if not protocol:
        return True
    if len(frame) < 34 or struct.unpack_from("!H", frame, 12)[0] != _IPV4:
        return False
    number = frame[23]
    if number != _PROTOCOLS[protocol]:
        return False
    if not port:
        return True
    at = 14 + (frame[14] & 15) * 4
    is_later_fragment = struct.unpack_from("!H", frame, 20)[0] & 0x1FFF
    if number not in _HAS_PORTS or is_later_fragment or len(frame) < at + 4:
        return False
    return port in struct.unpack_from("!HH", frame, at)
