"""What the relay must know of an Ethernet frame: where it goes, and whether a fault means it."""

from __future__ import annotations

import struct

BROADCAST = b"\xff" * 6
_IPV4, _ARP = 0x0800, 0x0806
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
_HAS_PORTS = (6, 17)


def is_address_resolution(frame: memoryview) -> bool:
    """ARP is spared by every fault but a partition: losing it would count each first packet twice."""
    return len(frame) >= 14 and struct.unpack_from("!H", frame, 12)[0] == _ARP


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
