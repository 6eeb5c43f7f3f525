"""What becomes of a packet under an impairment: pure decisions, no sockets, no clock of its own.

The order of the dice is that of the kernel's netem (tc-netem(8)): duplicate, loss (the two cancel out), damage,
disorder or delay, rate. One `Stage` holds the memory of one impairment on one directed path; a path under several
passes its packets through all of them in turn, and the delays add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from blackstart.core.randomness import Source
from blackstart.core.rule import Counter, parse
from blackstart.lab.distribution import SIGMAS_MAX, table
from blackstart.lab.impairment import Burst, Impairment

COUNTED = ("seen", "dropped", "overflowed", "delayed", "duplicated", "corrupted", "reordered")
_PARETO_SHAPE = 3.0


class Packet:
    """One packet on its way: its bytes, and when it is due (seconds, monotonic)."""

    __slots__ = ("data", "due_s")

    def __init__(self, data: bytes, due_s: float) -> None:
        self.data = data
        self.due_s = due_s


class Stage:
    """One impairment at work on one directed path. counts: how many packets met which fate, by the names in COUNTED."""

    def __init__(self, impairment: Impairment, random: Source, held: Callable[[], int] = lambda: 0) -> None:
        """held: how many packets of this path wait already."""
        self.impairment = impairment
        self.counts = dict.fromkeys(COUNTED, 0)
        self._random = random
        self._held = held
        rule = impairment.rule()
        self._when: Counter | None = parse(rule).counter(random) if rule else None
        self._is_lost = _loss(impairment, random)
        self._jitter = _jitter(impairment, random)
        self._since_reordered = 0
        self._free_s = 0.0
        self._last_due_s = 0.0

    def passes(self, packet: Packet, headroom: int = 0) -> Sequence[Packet]:
        """What arrives of this packet: nothing, itself, or several; due times only move on.

        headroom: so many bytes at the beginning are not the packet's own, and stay as they are.
        """
        wish = self.impairment
        counts = self.counts
        counts["seen"] += 1
        if self._when is not None and self._when.hit() is None:
            return (packet,)
        number = 1
        if wish.duplicate_percent and self._percent(wish.duplicate_percent):
            number += wish.copies
            counts["duplicated"] += 1
        if self._is_lost():
            number -= 1
            counts["dropped"] += 1
        return [self._sent_on(packet, headroom) for _ in range(number) if self._has_room()]

    def _has_room(self) -> bool:
        if self._held() < self.impairment.queue_packets:
            return True
        self.counts["overflowed"] += 1
        return False

    def _sent_on(self, packet: Packet, headroom: int) -> Packet:
        wish, data = self.impairment, packet.data
        if wish.corrupt_percent and self._percent(wish.corrupt_percent):
            data = self._damaged(data, headroom)
            self.counts["corrupted"] += 1
        return Packet(data, self._due_s(packet.due_s, len(data) - headroom))

    def _due_s(self, arrival_s: float, length: int) -> float:
        wish = self.impairment
        if self._overtakes():
            self.counts["reordered"] += 1
            return arrival_s
        due_s = arrival_s
        if wish.rate_kbit:
            self._free_s = max(self._free_s, arrival_s) + length * 8 / (wish.rate_kbit * 1000)
            due_s = self._free_s
        if wish.delay_ms or wish.jitter_ms:
            due_s += max(0.0, wish.delay_ms + self._jitter()) / 1000
        if wish.keeps_order:
            due_s = self._last_due_s = max(due_s, self._last_due_s)
        self.counts["delayed"] += due_s > arrival_s
        return due_s

    def _overtakes(self) -> bool:
        wish = self.impairment
        if not wish.reorder_percent:
            return False
        if self._since_reordered < wish.gap - 1 or not self._percent(wish.reorder_percent):
            self._since_reordered += 1
            return False
        self._since_reordered = 0
        return True

    def _damaged(self, data: bytes, headroom: int) -> bytes:
        """One bit flipped, behind the Ethernet header (so that it still arrives somewhere)."""
        first = min(headroom + 14, len(data) - 1)
        changed = bytearray(data)
        changed[self._random.randrange(first, len(data))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _percent(self, percent: float) -> bool:
        return self._random.random() * 100 < percent


def _correlated(random: Source, correlation_percent: float) -> Iterator[float]:
    """netem's correlated draws: each is a mix of the one before and a fresh one, all in [0, 1)."""
    share, last = correlation_percent / 100, random.random()
    while True:
        last = share * last + (1 - share) * random.random()
        yield last


def _loss(wish: Impairment, random: Source) -> Callable[[], bool]:
    if wish.burst is not None:
        states = _gilbert_elliott(wish.burst, random)
        return lambda: next(states)
    if not wish.loss_percent:
        return lambda: False
    draws, threshold = _correlated(random, wish.loss_correlation_percent), wish.loss_percent / 100
    return lambda: next(draws) < threshold


def _gilbert_elliott(burst: Burst, random: Source) -> Iterator[bool]:
    is_bad = False
    while True:
        change = burst.leave_percent if is_bad else burst.enter_percent
        if random.random() * 100 < change:
            is_bad = not is_bad
        lost = burst.lost_inside_percent if is_bad else burst.lost_outside_percent
        yield random.random() * 100 < lost


def _jitter(wish: Impairment, random: Source) -> Callable[[], float]:
    """Milliseconds to add to the delay; the distributions are those of netem's tables, cut at four deviations."""
    if not wish.jitter_ms:
        return lambda: 0.0
    if wish.distribution == "uniform":
        draws = _correlated(random, wish.delay_correlation_percent)
        return lambda: wish.jitter_ms * (2 * next(draws) - 1)
    if wish.delay_correlation_percent:
        # As netem has it: the correlated draw is a place in the table of the distribution.
        draws, quantiles = _correlated(random, wish.delay_correlation_percent), table(wish.distribution)
        return lambda: wish.jitter_ms * quantiles[int(next(draws) * len(quantiles))]
    shape = {"normal": _normal, "pareto": _pareto, "paretonormal": _pareto_normal}[wish.distribution]
    return lambda: wish.jitter_ms * max(-SIGMAS_MAX, min(SIGMAS_MAX, shape(random)))


def _normal(random: Source) -> float:
    return random.gauss(0.0, 1.0)


def _pareto(random: Source) -> float:
    """Shape 3, moved to a mean of 0, stretched as the table of iproute2 is."""
    drawn: float = (1.0 - random.random()) ** (-1 / _PARETO_SHAPE)
    return (drawn - 1.5) * 4 / 3


def _pareto_normal(random: Source) -> float:
    return 0.25 * _normal(random) + 0.75 * _pareto(random)
