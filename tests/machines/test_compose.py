"""The profiles of a Compose file with the kernel's own netem, in a guest whose kernel has it (covers: T-1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blackstart.lab import PROFILES
from tests.machines.guest import NEEDED_BY_VISITS, Guest, command

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600), *NEEDED_BY_VISITS]


@pytest.fixture(scope="module")
def seen(guest: Guest) -> dict[str, Any]:
    said = guest.visit(command("tests.machines.compose_netem"))
    found = dict(line.split(" ", 1) for line in said.splitlines() if line.startswith(("COMPOSE ", "PROFILES ")))
    assert found.keys() == {"COMPOSE", "PROFILES"}, said[-3000:]
    return {name: json.loads(text) for name, text in found.items()}


def test_a_profile_makes_the_link_bad_until_it_is_stopped(seen: dict[str, Any]) -> None:
    row = seen["COMPOSE"]
    assert row["good_ms"] < 450 and row["healed_ms"] < 450, row
    assert 500 <= row["bad_ms"] < 950, row  # one way only: what the service sends
    assert row["status"] == 0 and row["left"], row


def test_a_second_one_at_once_is_refused(seen: dict[str, Any]) -> None:
    assert seen["COMPOSE"]["second"] == 1 and "another profile is on" in seen["COMPOSE"]["second_said"], seen


def test_the_kernel_takes_each_profile(seen: dict[str, Any]) -> None:
    refused = {name: said for name, said in seen["PROFILES"].items() if not said.startswith("qdisc netem")}
    assert seen["PROFILES"].keys() == PROFILES.keys() and not refused
