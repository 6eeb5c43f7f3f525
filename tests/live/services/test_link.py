"""A bad link to a companion: who waits for ever is found, who has a time-out is not.

covers: L-3, T-1
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

PROGRAMS = Path(__file__).parent / "programs"
pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("mode", "trials", "found"), [("good", "8", set()), ("hung", "1", {"hung"})])
def test_who_has_a_time_out_survives_a_bad_link(mode: str, trials: str, found: set[str], tmp_path: Path) -> None:
    place = tmp_path / "service"
    shutil.copytree(PROGRAMS, place)
    ran = run(
        [PYTHON, "front.py"], place, "--ready", "tcp:8200", "--with", f"{PYTHON} backend.py",
        "--workload", f"{PYTHON} asks.py", "--only", "link", "--trials", trials, env={"MODE": mode}, budget="200s",
    )  # fmt: skip
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    (links,) = ran.report["trials"]["kinds"]
    # The link's own counters told that each met packets.
    assert (links["passed"], links["failed"]) == (int(trials) - len(found), len(found)), ran.said()
