"""Frames that no fault means never leave the kernel, but for the first between two hosts.

What a host sends arrives at its port and is redirected there and then (tc-mirred(8)): by a rule of its own, for each
host that it has sent to, straight out of that host's port; by a last rule, for all else, to a tap where the relay reads
it. Whether a rule of the first sort is there decides for each frame which of the two ways it goes, so a fault may begin
and end without a frame being lost or sent twice. The relay asks for a rule when it meets a frame that needed none of
its work: a lab of many hosts, most of which never talk to each other, then needs few.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from blackstart.lab.rtnetlink import Netlink

if TYPE_CHECKING:
    from blackstart.lab.relay import Port

# The kernel tries a port's rules one after the other, and a fault on all links has to take all of them away.
RULES_OF_PORT_MAX, RULES_MAX = 64, 512
_LAST = 60_000


class Shortcuts:
    """Those of one lab, in the namespace of its ports. `netlink` belongs to it."""

    def __init__(self, netlink: Netlink, namespace: int) -> None:
        """namespace: a descriptor of that namespace."""
        self._netlink = netlink
        self._namespace = namespace
        self._there: set[tuple[Port, Port]] = set()
        self._of: Counter[Port] = Counter()

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

    def open(self, port: Port, target: Port) -> None:
        """From now on what `port` sends to `target` bypasses the relay, if there is room for one more rule."""
        pair = (port, target)
        if pair in self._there or self._of[port] >= RULES_OF_PORT_MAX or len(self._there) >= RULES_MAX:
            return
        # Written down though it fails: a host is gone, and asking again for each of its frames helps nobody.
        self._there.add(pair)
        self._of[port] += 1
        with contextlib.suppress(OSError):
            self._netlink.redirect(port.index, target.index, target.number + 1, target.mac)

    def close_unless(self, is_free: Callable[[Port, Port], bool]) -> None:
        """From now on the relay has every pair (from, to) again that is not free."""
        for port, target in [pair for pair in self._there if not is_free(*pair)]:
            self._there.remove((port, target))
            self._of[port] -= 1
            with contextlib.suppress(OSError):  # a host is gone, and its port with it
                self._netlink.redirect_no_more(port.index, target.number + 1)
