"""`doctor` and the attempts to escape from the sandbox on Debian 12's own kernel, as an ordinary user.

That kernel is older than what makes the gate fast, and its tmpfs has no user attributes: `doctor` must name what falls
away, and nothing else may.
"""

from __future__ import annotations

import re

import pytest

from tests.machines.guest import NEEDED_BY_VISITS, PROJECT, Guest, command

SUITES = ("tests/live/gate", "tests/live/sandbox")
LIMIT_S = 5400

pytestmark = [pytest.mark.machines, pytest.mark.timeout(2 * LIMIT_S), *NEEDED_BY_VISITS]


@pytest.fixture(scope="module")
def said(guest: Guest) -> dict[str, str]:
    """What `doctor` and what the suites said, in one boot; what there is of it, where the time was up."""
    options = ["-q", "-p", "no:cacheprovider", "-rfEs", "--timeout", "900", "--durations", "20"]
    suites = command("pytest", *options, "--rootdir", str(PROJECT), *SUITES)
    doctor = f"{command('blackstart', 'doctor')}; echo LOOKED $?"
    script = f"{doctor}; export BLACKSTART_TEST_SLOWNESS=10; {suites}; echo ENDED $?"
    told = guest.visit(script, limit_s=LIMIT_S)
    (guest.work / "suites.txt").write_text(told)
    looked, _, ran = told.partition("LOOKED")
    return {"doctor": looked, "suites": ran}


def test_doctor_names_what_falls_away(said: dict[str, str]) -> None:
    lines = {line.split("(")[0].strip() for line in re.sub(r"\x1b\[\d*m|\r", "", said["doctor"]).splitlines()}
    missing = {line.removeprefix("no").strip() for line in lines if line.startswith("no ")}
    assert missing == {"attributes in memory", "listener wakes synchronously", "landlock", "cgroup"}, said["doctor"]


def test_the_suites_of_the_gate_and_the_sandbox_pass_there(said: dict[str, str]) -> None:
    print(said["suites"])
    assert "ENDED 0" in said["suites"], said["suites"][-5000:]
