"""What is asked of the kernel's netem, byte by byte (numbers are those of linux/pkt_sched.h)."""

from __future__ import annotations

import struct

import pytest

from blackstart.lab import Burst, Impairment
from blackstart.lab.qdisc import can, options, table

WHOLE = 0xFFFFFFFF


def attributes(body: bytes) -> dict[int, bytes]:
    """The attributes behind struct tc_netem_qopt, by their numbers."""
    found, at = {}, 24
    while at < len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        found[kind] = body[at + 4 : at + length]
        at += length + -length % 4
    assert at == len(body)
    return found


def test_nothing_is_all_zero_but_the_queue() -> None:
    body = options(Impairment(queue_packets=1000))
    assert struct.unpack_from("=6I", body) == (0, 1000, 0, 0, 0, 0)
    assert set(attributes(body)) == {1, 3, 4, 6, 10, 11, 14}
    assert not any(b"".join(attributes(body).values()))


def test_the_whole_message_of_a_delay() -> None:
    assert options(Impairment(delay_ms=1, queue_packets=5), seed=7).hex() == (
        "093d0000" "05000000" "00000000" "00000000" "00000000" "00000000"  # 15625 ticks of 64 ns
        "10000100" "000000000000000000000000"
        "0c000300" "0000000000000000"
        "0c000400" "0000000000000000"
        "14000600" "00000000000000000000000000000000"
        "0c000a00" "40420f0000000000"
        "0c000b00" "0000000000000000"
        "0c000e00" "0700000000000000"
    )  # fmt: skip


def test_shares_are_parts_of_the_whole() -> None:
    wish = Impairment(
        loss_percent=50, loss_correlation_percent=25, duplicate_percent=100, corrupt_percent=1, delay_ms=10,
        reorder_percent=25, gap=5, delay_correlation_percent=100, jitter_ms=2,
    )  # fmt: skip
    body = options(wish)
    _, _, loss, gap, duplicate, jitter = struct.unpack_from("=6I", body)
    assert (loss, gap, duplicate, jitter) == (round(WHOLE / 2), 5, WHOLE, 2_000_000 // 64)
    found = attributes(body)
    assert struct.unpack("=3I", found[1]) == (WHOLE, round(WHOLE / 4), 0)
    assert struct.unpack("=2I", found[3]) == (round(WHOLE / 4), 0)
    assert struct.unpack("=2I", found[4]) == (round(WHOLE / 100), 0)
    assert struct.unpack("=q", found[10]) == (10_000_000,)


def test_bursts_replace_the_plain_loss_and_tell_what_survives_inside() -> None:
    body = options(Impairment(burst=Burst(enter_percent=1, leave_percent=10, lost_inside_percent=75)))
    assert struct.unpack_from("=6I", body)[2] == 0
    length, kind, *shares = struct.unpack("=HH4I", attributes(body)[5 | 0x8000])
    assert (length, kind) == (20, 2)
    assert shares == [round(WHOLE * part) for part in (0.01, 0.1, 0.25, 0.0)]


@pytest.mark.parametrize(("kbit", "plain", "wide"), [(2000, 250_000, None), (1e9, WHOLE, 125_000_000_000)])
def test_a_rate_is_told_in_bytes(kbit: float, plain: int, wide: int | None) -> None:
    found = attributes(options(Impairment(rate_kbit=kbit)))
    assert struct.unpack("=IiIi", found[6]) == (plain, 0, 0, 0)
    assert (struct.unpack("=Q", found[8])[0] if wide else found.get(8)) == wide


@pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto", "paretonormal"])
def test_tables_rise_and_have_their_mean_at_nought(distribution: str) -> None:
    body = options(Impairment(delay_ms=100, jitter_ms=20, distribution=distribution))  # type: ignore[arg-type]
    shorts = struct.unpack(f"={len(attributes(body)[2]) // 2}h", attributes(body)[2])
    assert list(shorts) == sorted(shorts) and len(shorts) == 4096
    assert abs(sum(shorts) / len(shorts)) < 8192 * 0.05
    assert table(distribution) == attributes(body)[2]  # type: ignore[arg-type]


def test_a_table_of_the_normal_distribution_is_scaled_to_its_deviation() -> None:
    shorts = struct.unpack("=4096h", table("normal"))
    assert shorts[round(0.8413 * 4096)] == pytest.approx(8192, rel=0.01)


@pytest.mark.parametrize(
    "beyond",
    [
        Impairment(loss_percent=5, when="@3"), Impairment(loss_percent=5, protocol="udp"),
        Impairment(forgets_connections=True), Impairment(duplicate_percent=5, copies=2),
        Impairment(delay_ms=5, jitter_ms=5, keeps_order=True),
    ],
)  # fmt: skip
def test_what_netem_cannot_do_is_left_to_the_emulator(beyond: Impairment) -> None:
    assert not can(beyond)
    with pytest.raises(AssertionError):
        options(beyond)
