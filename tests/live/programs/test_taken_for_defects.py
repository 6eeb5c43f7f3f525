"""What was once taken for a defect of programs that do their work: each beside one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, run

pytestmark = pytest.mark.live


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(("mode", "defects"), [("withdraws", set()), ("keeps up", {"silent"})])
def test_what_was_said_too_early_is_a_note_if_the_exit_status_takes_it_back(
    mode: str, defects: set[str], work: Path
) -> None:
    (work / "items.txt").write_text("item 1\n")
    ran = run([PYTHON, str(TARGETS / "early_word.py"), mode], work, "--only", "errno", "--trials", "30")
    found = {finding["consequence"] for finding in ran.defects}
    assert found == defects, ran.said()
    if not defects:
        assert any(finding["consequence"] == "lost" for finding in ran.findings), ran.said()


def test_a_kill_between_two_transactions_of_a_write_ahead_log_leaves_a_legal_state(work: Path) -> None:
    ran = run([PYTHON, str(TARGETS / "two_commits.py")], work, "--only", "kill", "--trials", "40")
    assert not ran.defects and ran.status == 0, ran.said()
