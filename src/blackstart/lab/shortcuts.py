"""Frames that no fault means never leave the kernel.

What a host sends arrives at its port and is redirected there and then (tc-mirred(8)): by a rule of its own, for each
other host, straight out of that host's port; by a last rule, for all else, to a tap where the relay reads it. Whether a
rule of the first sort is there decides for each frame which of the two ways it goes, so a fault may begin and end
without a frame being lost or sent twice.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Set
from typing import TYPE_CHECKING

from blackstart.lab.rtnetlink import Netlink

if TYPE_CHECKING:
    from blackstart.lab.relay import Port

# With more hosts on a network the rules, one for each pair, cost more than they save.
HOSTS_MAX = 8
_LAST = 60_000


class Shortcuts:
    """Those of one lab, in the namespace of its ports. `netlink` belongs to it."""

    def __init__(self, netlink: Netlink, namespace: int) -> None:
        """namespace: a descriptor of that namespace."""
        self._netlink = netlink
        self._namespace = namespace
        self._there: set[tuple[Port, Port]] = set()

    def tap(self, interface: str, number: int) -> str:
        """The interface at which the relay reads what comes to this one; OSError where the kernel has no redirection.

        number: of the port.
        """
        netlink, near, far = self._netlink, f"tap{number}", f"in{number}"
        head = number.to_bytes(4, "big")
        netlink.add_veth(near, b"\x0a\x00" + head, far, b"\x0a\x01" + head, self._namespace)
        for name in (near, far):
            netlink.silence(socket.if_nametoindex(name))
            netlink.set_up(socket.if_nametoindex(name))
        index = socket.if_nametoindex(interface)
        netlink.add_ingress(index)
        netlink.redirect(index, socket.if_nametoindex(near), _LAST)
        return far

    def arrange(self, wanted: Set[tuple[Port, Port]]) -> None:
        """From now on just these (from, to) pairs of ports bypass the relay."""
        for change, pairs in ((self._close, self._there - wanted), (self._open, wanted - self._there)):
            for pair in pairs:
                with contextlib.suppress(OSError):  # a host is gone, and its port with it
                    change(*pair)
        self._there = set(wanted)

    def _open(self, port: Port, target: Port) -> None:
        self._netlink.redirect(port.index, target.index, target.number + 1, target.mac)

    def _close(self, port: Port, target: Port) -> None:
        self._netlink.redirect_no_more(port.index, target.number + 1)
