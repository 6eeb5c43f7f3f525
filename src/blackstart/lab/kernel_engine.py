"""The second engine: faults that the kernel's netem does, where it is there.

netem stands at the way out to a host and does not ask where a packet comes from. So it is given a fault only if that is
the one fault on everything that goes to this host; all else stays with the relay, which knows pairs. When a fault
heals, netem stays and lets all pass: taking it away would drop what it still holds back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from blackstart.core.randomness import Seed
from blackstart.lab.impairment import Impairment
from blackstart.lab.qdisc import can, options
from blackstart.lab.rtnetlink import Netlink

if TYPE_CHECKING:
    from blackstart.lab.relay import Entry, Port


class Work:
    """One fault's work at one port, from what netem had counted before."""

    def __init__(self, netlink: Netlink, index: int) -> None:
        self._netlink, self._index = netlink, index
        self._before = netlink.netem_counts(index)

    def counts(self) -> tuple[int, int]:
        """(packets seen, dropped)"""
        seen, dropped = self._netlink.netem_counts(self._index)
        return seen - self._before[0], dropped - self._before[1]


class Kernel:
    """netem at the ports of one lab."""

    def __init__(self, netlink: Netlink, seed: Seed) -> None:
        self._netlink = netlink
        self._seed = seed
        self._at: dict[Port, Entry] = {}

    def works(self, port: Port) -> bool:
        """Whether this kernel has netem; afterwards it stands at the port and lets all pass."""
        try:
            self._netlink.set_netem(port.index, options(Impairment()))
        except OSError:
            return False
        return True

    def arrange(
        self, ports: Sequence[Port], by_pair: Mapping[tuple[str, str], Sequence[Entry]]
    ) -> Mapping[Port, Entry]:
        """Give netem what it can do of these faults: port -> the fault on all that goes there."""
        wanted = {port: entry for port in ports if (entry := _only_one(port, ports, by_pair)) is not None}
        for port in self._at.keys() | wanted.keys():
            if self._at.get(port) is not wanted.get(port):
                with contextlib.suppress(OSError):  # the host is gone
                    self._change(port, wanted.get(port))
        self._at = wanted
        return wanted

    def _change(self, port: Port, entry: Entry | None) -> None:
        wish, seed = Impairment(), 0
        if entry is not None and entry.impairment is not None:
            entry.in_kernel[port] = Work(self._netlink, port.index)
            wish, seed = entry.impairment, self._seed.child("netem", entry.number, port.number).number
        self._netlink.set_netem(port.index, options(wish, seed & (1 << 64) - 1))


def _only_one(
    port: Port, ports: Iterable[Port], by_pair: Mapping[tuple[str, str], Sequence[Entry]]
) -> Entry | None:
    """The fault on everything that goes to this port, if it is the only one and netem can do it."""
    senders = [other for other in ports if other is not port and other.network == port.network]
    found = [tuple(by_pair.get((sender.host, port.host), ())) for sender in senders]
    if not port.has_tap or not found or len(set(found)) != 1 or len(found[0]) != 1:
        return None
    (entry,) = found[0]
    return entry if entry.impairment is not None and can(entry.impairment) else None
