"""The few rtnetlink requests that a lab makes, each acknowledged before it returns; errors are OSErrors.

A netlink socket stays bound to the network namespace in which it was made, so one process can hold one for each host
and never has to enter a namespace again. Only IPv4; the kernel's own IPv6 address on each interface is switched off,
for its discovery frames would go through the faults and be counted. Numbers are those of linux/rtnetlink.h,
linux/if_link.h and rtnetlink(7).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

_NEWLINK, _NEWADDR, _DELADDR = 16, 20, 21
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 1, 4, 0x200, 0x400
_ERROR = 2
_NESTED = 0x8000
_LOOPBACK_INDEX, _UP = 1, 1
_NO_LINK_LOCAL = 1  # IN6_ADDR_GEN_MODE_NONE


class Netlink:
    """A rtnetlink socket of the network namespace that this thread is in now."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def add_veth(self, name: str, mac: bytes, peer: str, peer_mac: bytes, namespace: int) -> None:
        """A pair of interfaces, both down: `name` here, `peer` in the network namespace of this descriptor."""
        other = _link() + _attribute(3, _text(peer)) + _attribute(1, peer_mac)
        other += _attribute(28, struct.pack("=I", namespace))
        kind = _attribute(1, _text("veth")) + _attribute(2 | _NESTED, _attribute(1, other))
        body = _link() + _attribute(3, _text(name)) + _attribute(1, mac) + _attribute(18 | _NESTED, kind)
        self._ask(_NEWLINK, _CREATE | _EXCLUSIVE, body)

    def silence(self, index: int) -> None:
        """Let the kernel give this interface no IPv6 address by itself; to be asked before it is up."""
        inner = _attribute(8, bytes([_NO_LINK_LOCAL]))
        families = _attribute(26 | _NESTED, _attribute(socket.AF_INET6 | _NESTED, inner))
        # A kernel without IPv6 refuses the question, and needs no answer.
        with contextlib.suppress(OSError):
            self._ask(_NEWLINK, 0, _link(index) + families)

    def set_up(self, index: int = _LOOPBACK_INDEX, *, up: bool = True) -> None:
        """Switch an interface on or off; without an index the loopback."""
        self._ask(_NEWLINK, 0, _link(index, _UP if up else 0, _UP))

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give an interface an IPv4 address; the route to its network comes with it."""
        self._ask(_NEWADDR, _CREATE | _EXCLUSIVE, _address(index, address, prefix))

    def delete_address(self, index: int, address: str, prefix: int) -> None:
        """Take an IPv4 address away; the routes that use it go with it."""
        self._ask(_DELADDR, 0, _address(index, address, prefix))

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST | _ACK, self._sequence, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(65536)
        _, answered, _, sequence, _ = struct.unpack_from("=IHHII", answer)
        assert answered == _ERROR and sequence == self._sequence, "not the acknowledgement of this request"
        (number,) = struct.unpack_from("=i", answer, 16)
        if number:
            raise OSError(-number, os.strerror(-number))


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _address(index: int, address: str, prefix: int) -> bytes:
    number = socket.inet_aton(address)
    return struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index) + _attribute(2, number) + _attribute(1, number)


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def _text(name: str) -> bytes:
    return name.encode("ascii") + b"\0"
