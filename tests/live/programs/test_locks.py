"""A lock that a killed process leaves behind: without a limit the program is stuck, with one it is late.

Shown here: a lease is a note with the time it took, a lock without a limit a finding that says how long it was watched.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, Ran, replay, run

pytestmark = pytest.mark.live


def counted(directory: Path, *words: str) -> Ran:
    (directory / "count.json").write_text('{"count": 4}')
    return run([PYTHON, str(TARGETS / "leased_counter.py"), *words], directory, "--only", "kill", budget="2m")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_a_lock_that_expires_is_a_note_with_the_time_it_took(work: Path) -> None:
    ran = counted(work, "--limit", "3")
    assert not ran.defects and ran.status == 0, ran.said()
    notes = [finding for finding in ran.findings if finding["consequence"] == "stuck"]
    assert len(notes) == 1, ran.said()
    assert notes[0]["evidence"][0].startswith("$CWD/counter.lock is in the way for a time only: it starts again by")
    status, told = replay(ran, notes[0], work)
    assert "s later:" in told and status == 1, told


def test_a_limit_longer_than_anybody_waits_is_shown_by_a_clock_that_is_ahead(work: Path) -> None:
    ran = counted(work, "--limit", "600")
    assert not ran.defects and ran.status == 0, ran.said()
    notes = [finding for finding in ran.findings if finding["consequence"] == "stuck"]
    assert len(notes) == 1 and "as a clock that is ahead shows" in notes[0]["evidence"][0], ran.said()


def test_a_lock_without_a_limit_is_a_finding(work: Path) -> None:
    ran = counted(work)
    stuck = [finding for finding in ran.defects if finding["consequence"] == "stuck"]
    assert len(stuck) == 1 and ran.status == 1, ran.said()
    assert "s later it still does not start by itself" in stuck[0]["evidence"][0], ran.said()
    assert {finding["consequence"] for finding in ran.defects} == {"stuck"}, ran.said()
