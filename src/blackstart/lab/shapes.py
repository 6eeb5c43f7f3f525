"""Who may no longer talk to whom: pure geometry, apart from the one place that applies it.

A grudge is a mapping host -> hosts whose packets it does not get. One-way partitions are grudges that are not
symmetric. The shapes are those of the literature on testing distributed systems (Jepsen's nemeses).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blackstart.core.randomness import Source
from blackstart.lab.impairment import LabError

Grudge = dict[str, frozenset[str]]


def separated(groups: Iterable[Iterable[str]]) -> Grudge:
    """Each host gets packets from its own group only."""
    parts = [frozenset(group) for group in groups]
    everyone = frozenset().union(*parts)
    if sum(map(len, parts)) != len(everyone):
        raise LabError("a host stands in two groups of one partition", next_step="partitions may overlap: apply two")
    return {host: everyone - part for part in parts for host in sorted(part)}


def one_way(deaf: Iterable[str], silenced: Iterable[str]) -> Grudge:
    """The first no longer get packets from the second; the other way all is well."""
    dropped = frozenset(silenced)
    return {host: dropped - {host} for host in deaf}


def halves(hosts: Sequence[str]) -> Grudge:
    """The first half (the smaller one) against the rest."""
    middle = len(_at_least(hosts, 2)) // 2
    return separated([hosts[:middle], hosts[middle:]])


def random_halves(hosts: Sequence[str], random: Source) -> Grudge:
    """Halves of the hosts in an order that is drawn."""
    return halves(_shuffled(hosts, random))


def isolated(hosts: Sequence[str], host: str) -> Grudge:
    """One host alone."""
    if host not in hosts:
        raise LabError(f"no host {host!r} among {', '.join(hosts)}")
    return separated([[host], [other for other in hosts if other != host]])


def bridge(hosts: Sequence[str]) -> Grudge:
    """Halves, but one host (the first of the second half) still talks to both."""
    middle = len(_at_least(hosts, 3)) // 2
    joint = hosts[middle]
    cut = separated([hosts[:middle], hosts[middle:]])
    return {host: dropped - {joint} for host, dropped in cut.items() if host != joint} | {joint: frozenset()}


def majorities_ring(hosts: Sequence[str], random: Source | None = None) -> Grudge:
    """Each host sees a majority, and no two see the same: on a ring each sees its neighbours on both sides.

    random: draws the order of the ring; else it is that of the hosts.
    """
    ring = list(_at_least(hosts, 4)) if random is None else _shuffled(_at_least(hosts, 4), random)
    reach = (len(ring) // 2 + 1) // 2
    everyone = frozenset(ring)
    return {
        host: everyone - {ring[(place + step) % len(ring)] for step in range(-reach, reach + 1)}
        for place, host in enumerate(ring)
    }


def _shuffled(hosts: Sequence[str], random: Source) -> list[str]:
    order = sorted(hosts)
    random.shuffle(order)
    return order


def _at_least(hosts: Sequence[str], number: int) -> Sequence[str]:
    if len(hosts) < number:
        raise LabError(f"this partition needs {number} hosts, and there are {len(hosts)}")
    return hosts
