"""A toxic of a proxy: its description, and what decides whom it hits.

Beyond Toxiproxy's fields there are two: `rule`, the *when* of a rule (`@3`, `20%`, `3*`, `3* -> @10+`) counted over the
connections that come, or over datagrams; and `window`, the times at which it is active (`2s..5s`, `2s..`, and every ten
seconds again `2s..5s/10s`), counted from when it was added.
"""

from __future__ import annotations

from typing import Any

import msgspec

from blackstart.core import rule as rules
from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.core.units import UnitError, parse_duration
from blackstart.proxy.address import UDP, network_of
from blackstart.proxy.interfaces import Checking, DatagramToxic, DoorToxic, Fault, StreamToxic, outside

UPSTREAM, DOWNSTREAM = "upstream", "downstream"
STREAMS = (UPSTREAM, DOWNSTREAM)
# Toxiproxy has them too, and its API takes any number. It knows no datagrams.
_UNCHECKED = ("packet_loss",)


class ToxicError(BlackstartError):
    """A toxic that cannot be."""


class Window(msgspec.Struct, frozen=True):
    """From start_s to end_s (None: for ever) after the toxic was added, and again every every_s (0: once)."""

    start_s: float
    end_s: float | None
    every_s: float = 0.0

    def is_open(self, at_s: float) -> bool:
        """Whether the toxic is active so long after it was added."""
        at_s = at_s % self.every_s if self.every_s else at_s
        return at_s >= self.start_s and (self.end_s is None or at_s < self.end_s)

    def next_change_s(self, at_s: float) -> float | None:
        """Seconds from at_s until it opens or closes; None if it never will again."""
        base = at_s - at_s % self.every_s if self.every_s else 0.0
        edges = [base + self.start_s] + ([base + self.end_s] if self.end_s is not None else [])
        if self.every_s:
            edges.append(base + self.every_s + self.start_s)
        later = [edge - at_s for edge in edges if edge > at_s]
        return min(later) if later else None


def parse_window(text: str) -> Window | None:
    """The window in `2s..5s`, `2s..` or `2s..5s/10s`; None for an empty text."""
    if not text:
        return None
    span, slash, every = text.partition("/")
    start, dots, end = span.partition("..")
    try:
        found = Window(
            parse_duration(start) if start else 0.0,
            parse_duration(end) if end else None,
            parse_duration(every) if slash else 0.0,
        )
    except UnitError as error:
        raise ToxicError(f"window {text!r}: {error.what}", next_step="write it like 2s..5s or 2s..5s/10s") from error
    last = found.start_s if found.end_s is None else found.end_s
    if not dots or last < found.start_s or (slash and not last <= found.every_s > 0):
        raise ToxicError(f"window {text!r} is no span of time", next_step="write it like 2s..5s or 2s..5s/10s")
    return found


def parse_rule(text: str) -> rules.Rule | None:
    """The rule whose terms say only when; None for an empty text. `off` is the one verb that may stand there."""
    if not text.strip():
        return None
    terms = [term if term.split()[-1:] == ["off"] else f"{term} yield" for term in text.split("->")]
    try:
        return rules.parse("->".join(terms))
    except BlackstartError as error:
        # The verb is ours, and nobody wrote it.
        raise ToxicError(
            error.what.replace(" yield", ""), next_step="a rule of a toxic says only when: @3, 3*, 20%, 2* off -> @5+"
        ) from error


def out_of_range(fault: Fault, toxicity: float, listen: str, *, is_strict: bool = True) -> str:
    """A sentence about a value that would run as another one. is_strict: what Toxiproxy's API takes is checked too."""
    if is_strict and (wrong := outside(0, 1, toxicity=toxicity)):
        return wrong
    is_checked = is_strict or fault.type not in _UNCHECKED or network_of(listen) == UDP
    return fault.wrong() if is_checked and isinstance(fault, Checking) else ""


class Toxic:
    """name, stream (as it was written) and toxicity as in Toxiproxy; fault: type and attributes as one value.

    shared: what its pipes know in common; hits: how often it acted, in connections that are over too.
    """

    def __init__(
        self, name: str, stream: str, fault: Fault, toxicity: float = 1, rule: str = "", window: str = ""
    ) -> None:
        self.name = name
        self.stream = stream
        self.fault = fault
        self.toxicity = toxicity
        self.rule = rule
        self.window = window
        self.shared: dict[str, Any] = {}
        self.hits = 0
        self.opening = parse_window(window)
        self.active = self.opening is None or self.opening.is_open(0.0)
        self._rule = parse_rule(rule)
        self._counter: rules.Counter | None = None
        self._seed = Seed(0)
        if self._rule is not None and self.door:
            raise ToxicError(f"a {fault.type} toxic acts on the listener: it takes a window, no rule")

    @property
    def direction(self) -> str:
        """The stream in lower case."""
        return self.stream.lower()

    @property
    def door(self) -> str:
        """closed or silent for a toxic of the listener, else empty."""
        return str(getattr(self.fault, "door", ""))

    def can(self, network: str) -> bool:
        """Whether it can act on this network: some are for datagrams, some for streams, some for both."""
        if self.door == "silent":
            return network == "tcp"
        if network == "udp":
            return isinstance(self.fault, DatagramToxic) or self.door == "closed"
        return isinstance(self.fault, StreamToxic | DoorToxic) or bool(self.door)

    def seed(self, seed: Seed) -> None:
        """Draw from this seed from now on."""
        self._seed = seed
        self._counter = self._rule.counter(seed.source("rule")) if self._rule else None

    def strikes(self, number: int | str) -> bool:
        """Whether it hits the connection (or datagram) of this number; counted by its rule. Ask once for each."""
        if self._counter is not None and self._counter.hit() is None:
            return False
        return self.rolls(number)

    def rolls(self, number: int | str) -> bool:
        """What the die says for this number, the same each time: toxicity alone."""
        return self.toxicity >= 1 or self._seed.source("toxicity", number).random() < self.toxicity
