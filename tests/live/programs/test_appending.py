"""A file that is only appended to: a log is nobody's loss, orders that are all a program keeps are.

Shown here: roles `log` and `output` of append-only files of a program that prints something.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, Ran, run

pytestmark = pytest.mark.live


def ordered(directory: Path, mode: str) -> tuple[str, Ran]:
    """(role of the file, what was found)."""
    work = directory / "work"
    work.mkdir()
    (work / "orders.txt").write_text("1 hammer, paid\n")
    ran = run([PYTHON, str(TARGETS / "orders.py"), mode], work, "--only", "errno,kill")
    return {file["path"]: file["role"] for file in ran.report["surface"]["files"]}["$CWD/orders.txt"], ran


def test_orders_that_are_lost_without_a_word_are_found(tmp_path: Path) -> None:
    role, ran = ordered(tmp_path, "careless")
    assert role == "output"
    assert {finding["consequence"] for finding in ran.defects} == {"silent"}, ran.said()


@pytest.mark.parametrize(("mode", "role"), [("careful", "output"), ("log", "log")])
def test_orders_kept_with_care_and_a_log_kept_without_give_nothing(mode: str, role: str, tmp_path: Path) -> None:
    found, ran = ordered(tmp_path, mode)
    assert found == role
    assert not ran.defects and ran.status == 0, ran.said()


@pytest.mark.parametrize(("mode", "found"), [("first", {"lost"}), ("last", set())])
def test_a_task_that_is_taken_away_before_it_is_done_is_lost(mode: str, found: set[str], tmp_path: Path) -> None:
    (tmp_path / "work" / "queue").mkdir(parents=True)
    for number in (1, 2):
        (tmp_path / "work" / "queue" / f"{number}.task").write_text(f"nail {number}\n")
    ran = run([PYTHON, str(TARGETS / "taking.py"), mode], tmp_path / "work", "--only", "kill")
    assert {finding["consequence"] for finding in ran.defects} == found, ran.said()
    assert all("Take a task away" in finding["advice"] for finding in ran.defects), ran.said()
