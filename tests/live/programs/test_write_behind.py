"""What was said before it was done: a policy, which does not fail a run.

Shown here: write-behind without configuration, with the measured window.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, Ran, run

pytestmark = pytest.mark.live


def counted(directory: Path, *words: str) -> Ran:
    work = directory / "work"
    work.mkdir()
    (work / "count.txt").write_text("41\n")
    command = [PYTHON, str(TARGETS / "said_before.py"), *words]
    return run(command, work, "--only", "kill", "--check", "cat count.txt")


def test_what_was_said_before_it_was_done_is_a_policy_with_its_window(tmp_path: Path) -> None:
    ran = counted(tmp_path)
    assert [(f["consequence"], f["label"], f["severity"]) for f in ran.findings] == [("lost", "policy", "low")], (
        ran.said()
    )
    assert ran.status == 0, ran.said()
    evidence = " ".join(ran.findings[0]["evidence"])
    assert "had got out, and $CWD/count.txt did not hold yet what it names" in evidence
    assert "ms after the line" in evidence


def test_what_is_said_after_it_was_done_stays(tmp_path: Path) -> None:
    ran = counted(tmp_path, "after")
    assert not ran.findings and ran.status == 0, ran.said()
