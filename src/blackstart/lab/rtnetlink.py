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

_NEWLINK, _NEWADDR, _DELADDR, _NEWROUTE, _NEWRULE, _DELRULE = 16, 20, 21, 24, 32, 33
_GETADDR, _NEWQDISC, _GETQDISC, _NEWFILTER, _DELFILTER = 22, 36, 38, 44, 45
_DUMP, _REPLACE, _DONE = 0x300, 0x100, 3
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 1, 4, 0x200, 0x400
_ERROR = 2
_NESTED = 0x8000
_LOOPBACK_INDEX, _UP, _NO_ARP = 1, 1, 0x80
# Settings of an interface, as linux/ip.h numbers them: packets from and to the loopback's addresses may use it.
_ACCEPT_LOCAL, _ROUTE_LOCAL_NETWORK = 23, 26
_LOOPBACK_NETWORK = (socket.inet_aton("127.0.0.0"), 8)
_TABLE_LOCAL, _TABLE_ACROSS = 255, 97
_TO_TABLE, _UNICAST, _STATIC, _ON_LINK = 1, 1, 4, 253
_ACROSS_FIRST, _LOCAL_NEXT = 1, 2
# Of linux/pkt_sched.h and linux/pkt_cls.h.
_CLSACT, _CLSACT_HANDLE, _INGRESS = 0xFFFFFFF1, 0xFFFF0000, 0xFFFFFFF2
_STOLEN, _REDIRECT, _TERMINAL = 4, 1, 1
_ROOT, _NETEM_HANDLE, _NETEM = 0xFFFFFFFF, 0x10000, b"netem\0"
_ALL_PROTOCOLS = socket.htons(3)
Range = tuple[int, int]
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

    def be_loopback(self, index: int) -> None:
        """Let this interface, which is up, carry what the loopback carries: its addresses, no neighbours to be found.

        Nothing is sent there until a rule of `across` says so.
        """
        self._ask(_NEWLINK, 0, _link(index, _NO_ARP, _NO_ARP))
        wanted = b"".join(_attribute(n, struct.pack("=I", 1)) for n in (_ACCEPT_LOCAL, _ROUTE_LOCAL_NETWORK))
        families = _attribute(26 | _NESTED, _attribute(socket.AF_INET | _NESTED, _attribute(1 | _NESTED, wanted)))
        self._ask(_NEWLINK, 0, _link(index) + families)
        network, bits = _LOOPBACK_NETWORK
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, bits, 0, 0, _TABLE_ACROSS, _STATIC, _ON_LINK, _UNICAST, 0)
        source = _attribute(7, socket.inet_aton("127.0.0.1"))
        route = _attribute(1, network) + _attribute(4, struct.pack("=I", index)) + source
        self._ask(_NEWROUTE, _CREATE | _EXCLUSIVE, head + route)
        # The kernel asks the table of local addresses before any other rule: it has to wait for its turn.
        self._ask(_NEWRULE, _CREATE | _EXCLUSIVE, _rule(_LOCAL_NEXT, _TABLE_LOCAL))
        self._ask(_DELRULE, 0, _rule(0, _TABLE_LOCAL))

    def across(self, protocol: int, *, sources: Range | None = None, destinations: Range | None = None) -> None:
        """Send what goes to the loopback network from and to these ports over the interface of `be_loopback`."""
        network, bits = _LOOPBACK_NETWORK
        more = _attribute(1, network) + _attribute(22, bytes([protocol]))
        for kind, ports in ((23, sources), (24, destinations)):
            if ports is not None:
                more += _attribute(kind, struct.pack("=HH", *ports))
        self._ask(_NEWRULE, _CREATE, _rule(_ACROSS_FIRST, _TABLE_ACROSS, bits) + more)

    def set_up(self, index: int = _LOOPBACK_INDEX, *, up: bool = True) -> None:
        """Switch an interface on or off; without an index the loopback."""
        self._ask(_NEWLINK, 0, _link(index, _UP if up else 0, _UP))

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give an interface an IPv4 address; the route to its network comes with it."""
        self._ask(_NEWADDR, _CREATE | _EXCLUSIVE, _address(index, address, prefix))

    def addresses(self) -> list[str]:
        """All IPv4 addresses there are."""
        body = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)
        found = (_attributes(data[8:]) for data in self._dump(_GETADDR, body))
        return [socket.inet_ntoa(one[2] if 2 in one else one[1]) for one in found if 2 in one or 1 in one]

    def delete_address(self, index: int, address: str, prefix: int) -> None:
        """Take an IPv4 address away; the routes that use it go with it."""
        self._ask(_DELADDR, 0, _address(index, address, prefix))

    def set_netem(self, index: int, options: bytes) -> None:
        """Let the kernel's netem do this (see `lab.qdisc`) to what goes out there; what waits keeps its time."""
        body = _queueing(index, _ROOT, _NETEM_HANDLE) + _attribute(1, _NETEM) + _attribute(2, options)
        self._ask(_NEWQDISC, _CREATE | _REPLACE, body)

    def netem_counts(self, index: int) -> tuple[int, int]:
        """(packets that netem has taken there, those of them that it dropped), since it was first asked."""
        for data in self._dump(_GETQDISC, _queueing(index, 0)):
            (where,) = struct.unpack_from("=i", data, 4)
            found = _attributes(data[20:])
            if where == index and found.get(1) == _NETEM:
                counts = _attributes(found[7])
                (passed,) = struct.unpack_from("=I", counts[1], 8)
                waiting, _, dropped = struct.unpack_from("=III", counts[3])
                return passed + waiting + dropped, dropped
        return 0, 0

    def add_ingress(self, index: int) -> None:
        """Give this interface a place for rules on what comes in."""
        body = _queueing(index, _CLSACT, _CLSACT_HANDLE) + _attribute(1, _text("clsact"))
        self._ask(_NEWQDISC, _CREATE | _EXCLUSIVE, body)

    def redirect(self, index: int, to: int, priority: int, mac: bytes = b"") -> None:
        """What comes in there (for this Ethernet address; all, if none is given) goes out of interface `to` instead.

        priority: the smaller is asked first; one rule each.
        """
        keys = b""
        if mac:  # found before the network header, where offsets count from
            keys += struct.pack("!II", 0xFFFFFFFF, int.from_bytes(mac[:4], "big")) + struct.pack("=ii", -14, 0)
            keys += struct.pack("!II", 0xFFFF0000, int.from_bytes(mac[4:], "big") << 16) + struct.pack("=ii", -10, 0)
        else:
            keys += bytes(16)
        selector = struct.pack("=BBBxHHhhI", _TERMINAL, 0, len(keys) // 16, 0, 0, 0, 0, 0) + keys
        mirred = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _REDIRECT, to)
        action = _attribute(1, _text("mirred")) + _attribute(2 | _NESTED, _attribute(2, mirred))
        options = _attribute(5, selector) + _attribute(7 | _NESTED, _attribute(1 | _NESTED, action))
        body = _queueing(index, _INGRESS, 0, priority << 16 | _ALL_PROTOCOLS)
        body += _attribute(1, _text("u32")) + _attribute(2 | _NESTED, options)
        self._ask(_NEWFILTER, _CREATE | _EXCLUSIVE, body)

    def redirect_no_more(self, index: int, priority: int) -> None:
        """Take the rule of this priority away."""
        body = _queueing(index, _INGRESS, 0, priority << 16 | _ALL_PROTOCOLS) + _attribute(1, _text("u32"))
        self._ask(_DELFILTER, 0, body)

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all messages that answer this."""
        found: list[bytes] = []
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _DUMP, self._sequence, 0)
        self._socket.send(head + body)
        while True:
            answer, at = self._socket.recv(1 << 17), 0
            while at < len(answer):
                length, answered = struct.unpack_from("=IH", answer, at)
                if answered in (_DONE, _ERROR):
                    return found
                found.append(answer[at + 16 : at + length])
                at += length + -length % 4

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


def _queueing(index: int, parent: int, handle: int = 0, info: int = 0) -> bytes:
    return struct.pack("=BxHiIII", socket.AF_UNSPEC, 0, index, handle, parent, info)


def _rule(priority: int, table: int, destination_bits: int = 0) -> bytes:
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, destination_bits, 0, 0, table, 0, 0, _TO_TABLE, 0)
    return head + _attribute(6, struct.pack("=I", priority))


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & ~_NESTED] = data[at + 4 : at + length]
        at += max(4, length + -length % 4)
    return found


def _text(name: str) -> bytes:
    return name.encode("ascii") + b"\0"
