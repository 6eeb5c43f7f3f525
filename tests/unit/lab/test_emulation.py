"""What becomes of packets under an impairment (covers: T-1), asked against drawn, from a fixed seed."""

from __future__ import annotations

import itertools
import statistics

import pytest

from blackstart.core.randomness import Seed
from blackstart.lab.emulation import Packet, Stage
from blackstart.lab.impairment import Burst, Impairment

COUNT = 20_000
FRAME = bytes(14) + bytes(range(200))


def stage(held: int = 0, **wish: object) -> Stage:
    return Stage(Impairment(**wish), Seed(7).source("test"), lambda: held)  # type: ignore[arg-type]


def sent(given: Stage, count: int = COUNT, every_s: float = 0.001) -> list[tuple[int, float, Packet]]:
    """(number, delay in s, packet) of all that arrives."""
    found = []
    for number in range(count):
        at = 100 + number * every_s
        found += [(number, packet.due_s - at, packet) for packet in given.passes(Packet(FRAME, at))]
    return found


def test_nothing_asked_is_nothing_done() -> None:
    arrived = sent(stage(), 100)
    assert [(number, delay) for number, delay, _ in arrived] == [(n, 0.0) for n in range(100)]
    assert all(packet.data == FRAME for _, _, packet in arrived)


@pytest.mark.parametrize("percent", [10, 30, 50])
def test_so_many_are_lost(percent: float) -> None:
    given = stage(loss_percent=percent)
    lost = COUNT - len(sent(given))
    assert lost / COUNT * 100 == pytest.approx(percent, abs=1.2)
    assert given.counts["dropped"] == lost and given.counts["seen"] == COUNT


def test_losses_come_in_bursts_of_the_expected_length_and_share() -> None:
    arrived = {n for n, _, _ in sent(stage(burst=Burst(enter_percent=2, leave_percent=20)), 100_000)}
    lost = [n for n in range(100_000) if n not in arrived]
    runs = sum(1 for n in lost if n - 1 in arrived or n == 0)
    assert len(lost) / 1000 == pytest.approx(100 * 2 / 22, abs=1.0)
    assert len(lost) / runs == pytest.approx(1 / 0.20, abs=0.5)


def test_correlated_losses_follow_each_other_more_often() -> None:
    def again(correlation: float) -> float:
        arrived = {n for n, _, _ in sent(stage(loss_percent=30, loss_correlation_percent=correlation))}
        lost = [n for n in range(1, COUNT) if n not in arrived]
        return sum(n - 1 not in arrived for n in lost) / len(lost)

    assert again(50) > again(0) + 0.04


def test_a_uniform_jitter_has_the_mean_and_the_width_asked_for() -> None:
    delays = [delay * 1000 for _, delay, _ in sent(stage(delay_ms=100, jitter_ms=20))]
    assert statistics.mean(delays) == pytest.approx(100, abs=0.5)
    assert statistics.pstdev(delays) == pytest.approx(20 / 3**0.5, abs=0.3)
    assert 80 <= min(delays) and max(delays) <= 120


@pytest.mark.parametrize("distribution", ["normal", "pareto", "paretonormal"])
def test_other_distributions_keep_the_mean_and_never_go_back_in_time(distribution: str) -> None:
    delays = [delay * 1000 for _, delay, _ in sent(stage(delay_ms=100, jitter_ms=10, distribution=distribution))]
    assert statistics.mean(delays) == pytest.approx(100, abs=1)
    assert 5 < statistics.pstdev(delays) < 13
    assert min(delays) >= 0
    assert min(d for _, d, _ in sent(stage(delay_ms=1, jitter_ms=50, distribution=distribution))) == 0


@pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto", "paretonormal"])
def test_correlated_delays_follow_the_one_before_in_each_distribution(distribution: str) -> None:
    def likeness(correlation: float) -> float:
        wish = {"delay_ms": 100, "jitter_ms": 10, "distribution": distribution}
        delays = [delay for _, delay, _ in sent(stage(**wish, delay_correlation_percent=correlation))]
        return statistics.correlation(delays, delays[1:] + delays[:1])

    assert abs(likeness(0)) < 0.05 and likeness(60) > 0.3


def test_jitter_reorders_unless_order_is_kept() -> None:
    def overtaken(**wish: object) -> int:
        due = [100 + n * 0.001 + delay for n, delay, _ in sent(stage(**wish), 2000)]
        return sum(later < earlier for earlier, later in itertools.pairwise(due))

    assert overtaken(delay_ms=50, jitter_ms=20) > 500
    assert overtaken(delay_ms=50, jitter_ms=20, keeps_order=True) == 0


def test_duplicates_arrive_as_often_as_asked() -> None:
    given = stage(duplicate_percent=10, copies=2)
    arrived = sent(given)
    assert len(arrived) == COUNT + 2 * given.counts["duplicated"]
    assert given.counts["duplicated"] / COUNT * 100 == pytest.approx(10, abs=1)


def test_loss_and_duplicate_cancel_out_as_in_netem() -> None:
    arrived = sent(stage(duplicate_percent=100, loss_percent=100), 100)
    assert [n for n, _, _ in arrived] == list(range(100))


def test_damage_flips_one_bit_behind_the_header() -> None:
    given = stage(corrupt_percent=5)
    changed = [packet.data for _, _, packet in sent(given) if packet.data != FRAME]
    assert len(changed) == given.counts["corrupted"]
    assert len(changed) / COUNT * 100 == pytest.approx(5, abs=0.8)
    for data in changed[:200]:
        flipped = [(a ^ b).bit_count() for a, b in zip(FRAME, data, strict=True)]
        assert sum(flipped) == 1 and not any(flipped[:14])


def test_damage_spares_the_headroom() -> None:
    given = stage(corrupt_percent=100)
    for _ in range(500):
        (packet,) = given.passes(Packet(b"\1" * 10 + FRAME, 1.0), headroom=10)
        assert packet.data[:24] == b"\1" * 10 + FRAME[:14]


def test_some_overtake_the_delayed_ones() -> None:
    given = stage(delay_ms=10, reorder_percent=25)
    at_once = sum(delay == 0 for _, delay, _ in sent(given))
    assert at_once == given.counts["reordered"]
    assert at_once / COUNT * 100 == pytest.approx(25, abs=1.5)


def test_a_gap_lets_only_each_nth_overtake() -> None:
    at_once = [n for n, delay, _ in sent(stage(delay_ms=10, reorder_percent=100, gap=5), 100) if delay == 0]
    assert at_once == list(range(4, 100, 5))


def test_a_rate_is_kept() -> None:
    arrived = sent(stage(rate_kbit=1000), 1000, every_s=0.0001)
    last_s = 100 + 999 * 0.0001 + arrived[-1][1]
    assert 1000 * len(FRAME) * 8 / (last_s - 100) == pytest.approx(1_000_000, rel=0.01)


def test_a_full_queue_drops() -> None:
    full = stage(held=10, delay_ms=10, queue_packets=10)
    assert sent(full, 5) == [] and full.counts["overflowed"] == 5


def test_a_rule_says_which_packets_are_meant() -> None:
    assert [n for n, _, _ in sent(stage(loss_percent=100, when="@3"), 6)] == [0, 1, 3, 4, 5]
    assert [n for n, _, _ in sent(stage(loss_percent=100, when="2*"), 6)] == [2, 3, 4, 5]
    assert [n for n, d, _ in sent(stage(delay_ms=5, when="@2+2"), 6) if d] == [1, 3, 5]


def test_the_same_seed_gives_the_same_fate() -> None:
    wish = {"loss_percent": 30, "delay_ms": 50, "jitter_ms": 20, "duplicate_percent": 10, "corrupt_percent": 10}
    first, second = ([(n, d, p.data) for n, d, p in sent(stage(**wish), 500)] for _ in range(2))
    assert first == second
