"""`doctor` and the attempts to escape from the sandbox on Debian 12's own kernel, as an ordinary user.

That kernel is older than what makes the gate fast, and its tmpfs has no user attributes: `doctor` must name what falls
away, and nothing else may.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.machines.guest import NEEDED_BY_VISITS, PROJECT, Guest, command

SUITES = ("tests/live/gate", "tests/live/sandbox")
LIMIT_S = 5400

pytestmark = [pytest.mark.machines, pytest.mark.timeout(2 * LIMIT_S), *NEEDED_BY_VISITS]


def test_doctor_names_what_falls_away(guest: Guest) -> None:
    said = guest.visit(command("blackstart", "doctor"), limit_s=600)
    lines = {line.split("(")[0].strip() for line in re.sub(r"\x1b\[\d*m|\r", "", said).splitlines()}
    missing = {line.removeprefix("no").strip() for line in lines if line.startswith("no ")}
    assert "VISITED" in said and missing == {
        "attributes in memory", "listener wakes synchronously", "landlock", "cgroup"
    }, said  # fmt: skip


def test_the_suites_of_the_gate_and_the_sandbox_pass_there(guest: Guest) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-rfEs", "--timeout", "900", "--rootdir", str(PROJECT)]
    said = guest.visit(
        f"export BLACKSTART_TEST_SLOWNESS=10; {command('pytest', *options, *SUITES)}; echo ENDED $?",
        limit_s=LIMIT_S,
    )
    Path(guest.work / "suites.txt").write_text(said)
    print(said)
    assert "ENDED 0" in said, said[-5000:]
