"""State is where the program keeps it, and no more than that.

Shown here: a state directory that does not exist yet below a HOME too large to be copied.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, Ran, places, run

pytestmark = pytest.mark.live


def in_a_large_home(directory: Path, *words: str) -> Ran:
    home, work = directory / "home", directory / "work"
    work.mkdir()
    for number in range(30):
        (home / ".config" / f"other-{number}").mkdir(parents=True)
        for inner in range(20):
            (home / ".config" / f"other-{number}" / f"{inner}.ini").write_text("x = 1\n")
    with open(home / "large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300 << 20)
    command = [PYTHON, str(TARGETS / "home_keeper.py"), *words]
    return run(command, work, "--only", "errno,kill,file", env={"HOME": str(home)})


def test_only_what_the_program_made_in_a_large_home_is_its_state(tmp_path: Path) -> None:
    ran = in_a_large_home(tmp_path)
    files = {file["path"]: file["role"] for file in ran.report["surface"]["files"]}
    assert files.get("$HOME/.config/counter/count.json") == "state", ran.said()
    assert not any("other-" in path for path in files)
    assert any(f["consequence"] in ("corrupt", "lost") and "count.json" in places(f) for f in ran.defects), ran.said()


def test_a_careful_program_keeps_its_state_in_a_large_home(tmp_path: Path) -> None:
    ran = in_a_large_home(tmp_path, "careful")
    assert not ran.defects, ran.said()
    assert ran.status == 0, ran.said()
