"""The kernel's netem as a lab's engine, in a guest whose kernel has it: asked against measured (covers: T-1)."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.machines.guest import NEEDED_BY_VISITS, Guest, command

COUNT, PER_SECOND = int(os.environ.get("BLACKSTART_MACHINE_PACKETS", "10000")), 250

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600), *NEEDED_BY_VISITS]


@pytest.fixture(scope="module")
def rows(guest: Guest) -> dict[str, dict[str, Any]]:
    """What was seen under each fault."""
    said = guest.visit(command("tests.machines.netem_accuracy", str(COUNT), str(PER_SECOND)))
    found = [json.loads(line.partition(" ")[2]) for line in said.splitlines() if line.startswith("NETEM ")]
    assert found, said[-3000:]
    # An emulated machine may be too slow to read all that arrives: what its readers' buffers refuse is not netem's.
    return {row["asked"]: row | {"netem_lost": row["lost"] - row["overrun"]} for row in found}


def test_netem_did_it_and_not_the_relay(rows: dict[str, dict[str, Any]]) -> None:
    assert len(rows) == 11
    assert max(row["relayed"] for row in rows.values()) < COUNT / 100


@pytest.mark.parametrize("name", ["nothing", "nothing again"])
def test_without_a_fault_nothing_is_lost_or_late(rows: dict[str, dict[str, Any]], name: str) -> None:
    assert rows[name]["netem_lost"] == rows[name]["doubled"] == 0
    assert rows[name]["p50_ms"] < 10


@pytest.mark.parametrize(("name", "percent"), [("loss 10", 10), ("loss 50", 50), ("bursts", 100 * 2 / 22)])
def test_as_much_is_lost_as_was_asked_and_counted(rows: dict[str, dict[str, Any]], name: str, percent: float) -> None:
    row = rows[name]
    assert row["netem_lost"] == pytest.approx(percent, abs=2.5)
    assert row["netem_lost"] == pytest.approx(100 * row["counts"]["dropped"] / COUNT, abs=0.5)  # it sees ARP, too


def test_delays_have_their_length_and_their_spread(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["delay 100"]["least_ms"] >= 100 and rows["delay 100"]["p50_ms"] < 110
    for name in ("jitter", "normal"):
        assert 95 < rows[name]["p50_ms"] < 115
    assert rows["jitter"]["least_ms"] >= 80
    assert rows["normal"]["least_ms"] < rows["jitter"]["least_ms"]


def test_shares_of_reordered_doubled_and_damaged_packets(rows: dict[str, dict[str, Any]]) -> None:
    arrived = 1 - rows["reorder"]["overrun"] / 100
    assert 100 * rows["reorder"]["early"] == pytest.approx(25 * arrived, abs=3)
    # Of a doubled packet netem sees both.
    assert 100 * (rows["duplicate"]["counts"]["seen"] / COUNT - 1) == pytest.approx(10, abs=1.5)
    assert rows["corrupt"]["damaged"] == pytest.approx(5, abs=1.5)  # checksums find them
