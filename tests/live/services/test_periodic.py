"""A real scheduler whose jobs lie in a database that somebody else writes to for longer than its library waits.

Its thread dies, it says that it runs, and no job is done again. Made to catch the error, it goes on.

covers: R-6, IF-3, M-7, M-11
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run

PROGRAM = Path(__file__).parent / "programs" / "ticking.py"

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def ticking(place: Path, mode: str) -> Ran:
    pytest.importorskip("apscheduler", reason="needs APScheduler: pip install blackstart[examples]")
    (place / "ticking").mkdir()
    shutil.copy(PROGRAM, place / "ticking")
    return run(
        [PYTHON, "ticking.py"], place / "ticking", "--ready", "log:^ready", "--only", "db", "--trials", "1",
        env={"MODE": mode}, timeout_s=500,
    )  # fmt: skip


def test_a_scheduler_whose_thread_dies_is_dead_though_it_runs(tmp_path: Path) -> None:
    ran = ticking(tmp_path, "")
    assert [f["consequence"] for f in ran.defects] == ["dead"] and ran.status == 1, ran.said()
    assert "locked for writing" in ran.defects[0]["fault"] and "$CWD/" in str(ran.defects[0]["evidence"]), ran.said()


def test_one_that_catches_the_error_goes_on(tmp_path: Path) -> None:
    ran = ticking(tmp_path, "careful")
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()
    assert ran.report["trials"]["kinds"][0]["passed"] == 1, ran.said()
