"""What is done to the packets of a path, as a value: delay, loss, duplicates, damage, disorder, a rate.

The names and meanings are those of tc-netem(8), where it has them; all percentages are of packets. An impairment says
nothing about where it acts: that is the chaos's business.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.rule import RuleError, parse

Distribution = Literal["uniform", "normal", "pareto", "paretonormal"]
Protocol = Literal["", "tcp", "udp", "icmp"]
# Who does it: the keeper itself, the kernel's netem, or netem where it is there.
EMULATOR, NETEM, AUTO = "emulator", "netem", "auto"
DELAY_MS_MAX = 3_600_000.0
# A rule is when × what; what is done stands in the other fields, so any verb without an argument serves to read it.
_ANY_VERB = "yield"


class LabError(BlackstartError):
    """A lab, or a fault in it, that cannot be had: the message names the value or the permission."""


class Burst(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Loss in bursts: the Gilbert-Elliott model, as `loss gemodel` of tc-netem(8).

    enter_percent and leave_percent: the chance at each packet to go into and out of the bad state; lost_inside_percent
    and lost_outside_percent: how many packets are lost in each state. Mean loss, with nothing lost outside:
    lost_inside * enter / (enter + leave).
    """

    enter_percent: float
    leave_percent: float
    lost_inside_percent: float = 100.0
    lost_outside_percent: float = 0.0

    def __post_init__(self) -> None:
        _check_percentages(self, "enter_percent leave_percent lost_inside_percent lost_outside_percent")


class Impairment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What happens to each packet of one direction of a path.

    delay_ms ± jitter_ms in the given distribution (jitter_ms is its half width, or its standard deviation);
    correlations: how much a draw depends on the one before. keeps_order: no packet overtakes another, whatever the
    jitter. copies: how many more of a duplicated packet arrive. reorder_percent: so many packets, of each `gap`-th,
    are sent at once while the others are delayed (needs a delay). rate_kbit: 1000 bits a second. queue_packets: what
    is held back at most; more is dropped. when: the `when` of a rule (`@3`, `@10+5`, `20%`, `2*@4+`): only these
    packets. protocol and port (source or destination): only these. forgets_connections: TCP connections that were there
    before are dropped without a word, as by a firewall that lost its memory; new ones pass. Raises LabError for values
    without a meaning.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    distribution: Distribution = "uniform"
    delay_correlation_percent: float = 0.0
    keeps_order: bool = False
    loss_percent: float = 0.0
    loss_correlation_percent: float = 0.0
    burst: Burst | None = None
    duplicate_percent: float = 0.0
    copies: int = 1
    corrupt_percent: float = 0.0
    reorder_percent: float = 0.0
    gap: int = 1
    rate_kbit: float = 0.0
    queue_packets: int = 10_000
    when: str = ""
    protocol: Protocol = ""
    port: int = 0
    forgets_connections: bool = False

    def __post_init__(self) -> None:
        _check_percentages(
            self,
            "delay_correlation_percent loss_percent loss_correlation_percent duplicate_percent corrupt_percent "
            "reorder_percent",
        )
        _check(self, "delay_ms", 0, DELAY_MS_MAX)
        _check(self, "jitter_ms", 0, DELAY_MS_MAX)
        _check(self, "rate_kbit", 0, 1e9)
        _check(self, "copies", 1, 100, whole=True)
        _check(self, "gap", 1, 1_000_000, whole=True)
        _check(self, "queue_packets", 1, 1_000_000, whole=True)
        _check(self, "port", 0, 65535, whole=True)
        for name, kind in (("distribution", Distribution), ("protocol", Protocol)):
            if getattr(self, name) not in get_args(kind):
                step = f"give one of {', '.join(filter(None, get_args(kind)))}"
                raise LabError(f"{name} is {getattr(self, name)!r}", where=name, next_step=step)
        if self.reorder_percent and not self.delay_ms:
            raise LabError(
                "reorder_percent needs a delay: packets overtake the ones that are delayed", next_step="give delay_ms"
            )
        if self.burst is not None and self.loss_percent:
            raise LabError("both loss_percent and burst, two models of one loss", next_step="give one of them")
        if self.port and self.protocol not in ("tcp", "udp"):
            raise LabError(f"port {self.port} without a protocol that has ports", next_step="give protocol tcp or udp")
        if self.when:
            try:
                parse(f"{self.when} {_ANY_VERB}")
            except RuleError as error:
                step = "write it like @3, @10+5, 20% or 2*"
                why = error.what.partition("\n")[0]
                raise LabError(f"{self.when!r} does not say when: {why}", where="when", next_step=step) from None

    @property
    def acts_on_packets(self) -> bool:
        """Whether single packets matter, so that none may stand for many of them (offloads are then off)."""
        plain = Impairment(delay_ms=self.delay_ms, queue_packets=self.queue_packets)
        return self != plain

    @property
    def is_nothing(self) -> bool:
        """Whether nothing happens to any packet, whatever the fields say that only narrow or shape a fault."""
        happens = (self.delay_ms, self.jitter_ms, self.loss_percent, self.duplicate_percent, self.corrupt_percent)
        return not (any(happens) or self.rate_kbit or self.burst is not None or self.forgets_connections)

    def rule(self) -> str:
        """The text of the rule whose hits are the packets that this acts on; `` for all."""
        return f"{self.when} {_ANY_VERB}" if self.when else ""


def _check_percentages(value: msgspec.Struct, names: str) -> None:
    for name in names.split():
        _check(value, name, 0, 100)


def _check(value: msgspec.Struct, name: str, least: float, most: float, *, whole: bool = False) -> None:
    number = getattr(value, name)
    if whole and isinstance(number, float):
        raise LabError(f"{name} is {number!r}, not a whole number", where=name, next_step=_between(least, most))
    if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
        raise LabError(f"{name} is {number!r}, not a number", where=name, next_step=_between(least, most))
    if not least <= number <= most:
        raise LabError(f"{name} is {number:g}", where=name, next_step=_between(least, most))


def _between(least: float, most: float) -> str:
    return f"give a number from {least:g} to {most:g}"
