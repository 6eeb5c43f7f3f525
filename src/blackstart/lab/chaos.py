"""Chaos by name: what tc, pumba and comcast are asked for, on the links of a lab, without root, each with its heal.

    chaos = NetworkChaos(lab)
    with chaos.apply_loss(("client", "server"), 30):            # both directions; healed at the end of the block
        ...
    chaos.partition("client", "server", duration_s=5)           # heals by itself
    chaos.clear()

`where` is a host (all it sends and gets), a pair of hosts, or "all"; a role of the lab stands for the hosts that have
it. `one_way`: only what the host, or the first of the pair, sends. Faults add up; each counts what it really did.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from itertools import permutations, product
from typing import Any

import msgspec

from blackstart.core.randomness import Seed
from blackstart.lab import shapes
from blackstart.lab.impairment import Burst, Distribution, Impairment, LabError
from blackstart.lab.lab import ALL, Host, Lab
from blackstart.lab.profiles import profile
from blackstart.lab.shapes import Grudge

Where = str | Host | tuple[str | Host, str | Host]
SHAPES = ("halves", "random-halves", "majorities-ring", "bridge", "isolated")


class Applied:
    """One fault at work; healed by `heal()`, on leaving its block, after its time, or by the chaos's `clear()`."""

    def __init__(self, lab: Lab, number: int, told: str) -> None:
        self._lab = lab
        self._number = number
        self._told = told
        self._last: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<{self._told}>"

    def counts(self) -> dict[str, int]:
        """Packets by fate: seen, dropped, overflowed, delayed ...; after the heal the last known."""
        entries = self._lab.ask({"do": "counts"})[0]["entries"]
        self._last = entries.get(str(self._number), self._last)
        return dict(self._last)

    def heal(self) -> None:
        """Once or often; packets that wait already still arrive."""
        self.counts()
        self._lab.ask({"do": "heal", "number": self._number})

    def __enter__(self) -> Applied:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LabError):  # the lab is gone, and its faults with it; the body's exception counts
            self.heal()


class NetworkChaos:
    """Faults on the links of one lab, `lab`. All raise LabError for values that have no meaning, and name the value."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._applied: list[Applied] = []

    def apply(self, where: Where, impairment: Impairment, *, one_way: bool = False, duration_s: float = 0.0) -> Applied:
        """Any impairment; duration_s: healed after so long by itself (0: never)."""
        return self._apply(paths(self.lab, where, one_way), impairment, duration_s, f"{impairment!r} {where!r}")

    def apply_delay(
        self, where: Where, delay_ms: float, jitter_ms: float = 0.0, distribution: Distribution = "uniform",
        correlation_percent: float = 0.0, *, keeps_order: bool = False, one_way: bool = False, duration_s: float = 0.0,
        **only: Any,
    ) -> Applied:  # fmt: skip
        """Packets come delay_ms ± jitter_ms later, in each direction. only: when, protocol, port of Impairment."""
        wish = _impairment(
            delay_ms=delay_ms, jitter_ms=jitter_ms, distribution=distribution, keeps_order=keeps_order,
            delay_correlation_percent=correlation_percent, **only,
        )  # fmt: skip
        return self.apply(where, wish, one_way=one_way, duration_s=duration_s)

    def apply_loss(
        self, where: Where, percent: float | None = None, correlation_percent: float = 0.0,
        burst: Burst | None = None, *, one_way: bool = False, duration_s: float = 0.0, **only: Any,
    ) -> Applied:  # fmt: skip
        """So many packets are lost, singly or in bursts."""
        if percent is None and burst is None:
            raise LabError("a loss of nothing", next_step="give percent, or burst=Burst(...)")
        wish = _impairment(
            loss_percent=percent or 0.0, loss_correlation_percent=correlation_percent, burst=burst, **only
        )  # fmt: skip
        return self.apply(where, wish, one_way=one_way, duration_s=duration_s)

    def apply_reorder(
        self, where: Where, percent: float, gap: int = 1, *, delay_ms: float = 50.0, one_way: bool = False,
        duration_s: float = 0.0, **only: Any,
    ) -> Applied:  # fmt: skip
        """So many packets, of each gap-th, overtake the others, which are delayed by delay_ms."""
        wish = _impairment(reorder_percent=percent, gap=gap, delay_ms=delay_ms, **only)
        return self.apply(where, wish, one_way=one_way, duration_s=duration_s)

    def apply_duplicate(
        self, where: Where, percent: float, copies: int = 1, *, one_way: bool = False, duration_s: float = 0.0,
        **only: Any,
    ) -> Applied:  # fmt: skip
        """So many packets arrive again, `copies` times."""
        wish = _impairment(duplicate_percent=percent, copies=copies, **only)
        return self.apply(where, wish, one_way=one_way, duration_s=duration_s)

    def apply_corrupt(
        self, where: Where, percent: float, *, one_way: bool = False, duration_s: float = 0.0, **only: Any
    ) -> Applied:
        """One bit of so many packets is flipped; where checksums are right, the receiver drops them."""
        return self.apply(where, _impairment(corrupt_percent=percent, **only), one_way=one_way, duration_s=duration_s)

    def apply_rate(
        self, where: Where, kbit: float, *, one_way: bool = False, duration_s: float = 0.0, **only: Any
    ) -> Applied:
        """At most so many thousand bits a second, in each direction between two hosts."""
        if not kbit:
            raise LabError("a rate of 0 would never let anything through", next_step="use partition")
        return self.apply(where, _impairment(rate_kbit=kbit, **only), one_way=one_way, duration_s=duration_s)

    def apply_profile(self, where: Where, name: str, *, duration_s: float = 0.0) -> Applied:
        """A link as people know it: `3g`, `satellite`, `chaos-loss-30` ... (`blackstart net profiles` lists them)."""
        return self.apply(where, profile(name), duration_s=duration_s)

    def partition(
        self, a: str | Host | Iterable[str], b: str | Host | Iterable[str], duration_s: float = 0.0, *,
        one_way: bool = False,
    ) -> Applied:  # fmt: skip
        """No packet passes between the two sides; one_way: only from a to b none. Partitions may overlap."""
        left, right = self._names(a), self._names(b)
        if set(left) & set(right):
            raise LabError(f"{sorted(set(left) & set(right))[0]!r} stands on both sides of a partition")
        if not left or not right:
            raise LabError("a partition with nobody on one side", next_step="name hosts, or roles, on both")
        grudge = shapes.one_way(right, left) if one_way else shapes.separated([left, right])
        return self.apply_grudge(grudge, duration_s=duration_s)

    def partition_by(self, shape: str, host: str | Host | None = None, *, duration_s: float = 0.0) -> Applied:
        """All hosts split in a shape: halves, random-halves, majorities-ring, bridge, or isolated (one host alone).

        host: the one that is isolated, or a role, of whose hosts one is drawn; else one of all.
        """
        hosts = list(self.lab.hosts)
        random = Seed(self.lab.seed).source("partition", len(self._applied))
        match shape:
            case "halves":
                grudge = shapes.halves(hosts)
            case "random-halves":
                grudge = shapes.random_halves(hosts, random)
            case "majorities-ring":
                grudge = shapes.majorities_ring(hosts, random)
            case "bridge":
                grudge = shapes.bridge(hosts)
            case "isolated":
                grudge = shapes.isolated(hosts, random.choice(hosts if host is None else self._names(host)))
            case _:
                raise LabError(f"no shape {shape!r}", next_step=f"shapes are {', '.join(SHAPES)}")
        return self.apply_grudge(grudge, duration_s=duration_s)

    def apply_grudge(self, grudge: Grudge, *, duration_s: float = 0.0) -> Applied:
        """A partition of any shape: host -> those whose packets it does not get."""
        pairs = [(sender, host) for host, dropped in grudge.items() for sender in sorted(dropped)]
        for name in {name for pair in pairs for name in pair}:
            self.lab[name]
        return self._apply(pairs, None, duration_s, f"partition of {len(pairs)} directions")

    def roam(self, host: str | Host, address: str = "", *, interface: int = 0) -> str:
        """Give the host another address in its network (a free one, if none is named), as a phone that changes cells.

        Its new address. Raises LabError where another host has it or it lies in another network.
        """
        name = self._one(host)
        moving = self.lab[name]
        wanted, prefix = _new_address(self.lab, moving, address, interface)
        message = {"do": "roam", "host": name, "interface": interface, "address": wanted, "prefix": prefix}
        self.lab.ask(message)
        moving.moved(wanted, prefix, interface)
        return wanted

    def switch_off(self, host: str | Host, *, interface: int = 0) -> None:
        """Take the host's interface down: its programs see it, unlike a partition."""
        self._switch(host, interface, up=False)

    def switch_on(self, host: str | Host, *, interface: int = 0) -> None:
        """Up again."""
        self._switch(host, interface, up=True)

    def clear(self) -> None:
        """Heal everything that this chaos applied."""
        while self._applied:
            self._applied.pop().heal()

    def __enter__(self) -> NetworkChaos:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LabError):
            self.clear()

    def _switch(self, host: str | Host, interface: int, *, up: bool) -> None:
        name = self._one(host)
        self.lab.ask({"do": "switch", "host": name, "interface": interface, "up": up})

    def _names(self, given: str | Host | Iterable[str]) -> list[str]:
        if isinstance(given, Host):
            return [given.name]
        names = [given] if isinstance(given, str) else [str(name) for name in given]
        return [host for name in names for host in self.lab.hosts_of(name)]

    def _one(self, given: str | Host) -> str:
        names = self.lab.hosts_of(given)
        if len(names) > 1:
            raise LabError(f"role {given!r} has {len(names)} hosts", next_step=f"name one: {', '.join(names)}")
        return names[0]

    def _apply(
        self, pairs: Sequence[tuple[str, str]], wish: Impairment | None, duration_s: float, told: str
    ) -> Applied:
        if not isinstance(duration_s, int | float) or not 0 <= duration_s <= 1e6:
            raise LabError(f"duration_s is {duration_s!r}", where="duration_s", next_step="give seconds, at least 0")
        impairment = None if wish is None else msgspec.to_builtins(wish)
        message = {"do": "apply", "pairs": pairs, "impairment": impairment, "lasts_s": duration_s}
        self._applied.append(Applied(self.lab, self.lab.ask(message)[0]["number"], told))
        return self._applied[-1]


def _impairment(**fields: Any) -> Impairment:
    unknown = sorted(fields.keys() - set(Impairment.__struct_fields__))
    if unknown:
        raise LabError(f"no option {unknown[0]!r} of an impairment", next_step="when, protocol and port narrow it")
    return Impairment(**fields)


def paths(lab: Lab, where: Where, one_way: bool) -> list[tuple[str, str]]:
    """(sender, receiver) of each directed path that is meant; the lab may be closed.

    Raises LabError for hosts that are not there, and where nothing could pass in any case.
    """
    found = _pairs(lab, where, one_way)
    networks = {host.name: {one.network for one in host.interfaces} for host in lab}
    if not any(networks[sender] & networks[receiver] for sender, receiver in found):
        step = "; ".join(f"{name} has {', '.join(hosts)}" for name, hosts in lab.networks.items())
        raise LabError(f"{where!r} means no path: no two of its hosts are on one network", next_step=step)
    return found


def _pairs(lab: Lab, where: Where, one_way: bool) -> list[tuple[str, str]]:
    if where == ALL:
        return list(permutations(lab.hosts, 2))
    if isinstance(where, str | Host):
        meant = lab.hosts_of(where)
        sent = [(name, other) for name in meant for other in lab.hosts if other != name]
        # Two hosts of one role send to each other: each path once.
        return sent if one_way else list(dict.fromkeys([*sent, *((other, name) for name, other in sent)]))
    if not isinstance(where, tuple | list) or len(where) != 2:
        raise LabError(f"{where!r} is neither a host nor a pair of hosts", next_step='such as ("client", "server")')
    left, right = (lab.hosts_of(end) for end in where)
    if both := sorted(set(left) & set(right)):
        raise LabError(f"a path from {both[0]} to itself")
    there = list(product(left, right))
    return there if one_way else there + [(other, one) for one, other in there]


def _new_address(lab: Lab, host: Host, address: str, interface: int) -> tuple[str, int]:
    if not 0 <= interface < len(host.interfaces):
        raise LabError(f"{host.name} has no interface {interface}", next_step=f"it has {len(host.interfaces)}")
    here = host.interfaces[interface]
    network = ipaddress.IPv4Network(f"{here.address}/{here.prefix}", strict=False)
    taken = {i.address for other in lab for i in other.interfaces if i.network == here.network}
    if not address:
        # From the far end, where no host begins.
        free = (str(network.broadcast_address - step) for step in range(1, network.num_addresses - 1))
        return next(one for one in free if one not in taken), here.prefix
    try:
        wanted = ipaddress.IPv4Address(address)
    except ValueError:
        raise LabError(f"{address!r} is no IPv4 address", next_step=f"such as {here.address}") from None
    if wanted not in network or wanted in (network.network_address, network.broadcast_address):
        raise LabError(f"{address} is no address in {here.network}", next_step=f"take one of {network}")
    if str(wanted) in taken:
        raise LabError(f"{address} is taken", next_step="take a free one, or none: one is then chosen")
    return str(wanted), here.prefix
