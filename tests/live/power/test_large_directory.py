"""A file in a very large directory is state by itself, in a layer over it, and the power is cut there, too."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.power.test_job import DIRECTORY, FSYNC, PROGRAM, blackstart

pytestmark = pytest.mark.live

IN_PLACE = """
import json, os
notes = json.load(open("notes.json"))
notes.append("x" * 6000 + str(len(notes)))
with open("notes.json", "w") as f:
    json.dump(notes, f)
os.write(1, b"saved\\n")
"""
REMOVED_FIRST = """
import json, os
notes = json.load(open("notes.json"))
os.unlink("notes.json")
with open("notes.json", "w") as f:
    json.dump([*notes, "more"], f)
    f.flush(); os.fsync(f.fileno())
os.write(1, b"saved\\n")
"""

# Refuses to start where a journal is left.
JOURNALLED = """
import os
assert not os.path.exists("journal"), "was not ended"
with open("journal", "w") as f:
    f.write("begun")
    f.flush(); os.fsync(f.fileno())
with open("notes.json", "a") as f:
    f.write(" ")
    f.flush(); os.fsync(f.fileno())
os.unlink("journal")
print("saved", flush=True)
"""


def in_a_large_directory(place: Path, program: str, *more: str, trials: int = 16) -> dict[str, Any]:
    place.mkdir()
    with open(place / "large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300 << 20)  # more than a copy may have
    (place / "app.py").write_text(program)
    (place / "notes.json").write_text('["first"]')
    words = ["--trials", str(trials), "--budget", "5m", "--seed", "1", "--json", "../r.json", *more]
    ended = blackstart(place, "power", *words, "--", sys.executable, "-I", "-S", "app.py")
    assert (place.parent / "r.json").exists(), ended.stderr
    found: dict[str, Any] = json.loads((place.parent / "r.json").read_text())
    return found


def told(found: dict[str, Any]) -> str:
    return "\n".join(line for finding in found["findings"] for line in finding["evidence"])


def test_in_place_rewriting_is_found_there(tmp_path: Path) -> None:
    found = in_a_large_directory(tmp_path / "work", IN_PLACE, "--model", "ext4,xfs")
    defects = [f for f in found["findings"] if f["label"] == "defect"]
    assert {"corrupt", "lost"} & {f["consequence"] for f in defects} and "notes.json" in told(found), found["findings"]
    assert not any("no power cuts" in note for note in found.get("notes", []))


def test_a_careful_writer_is_not_blamed_there(tmp_path: Path) -> None:
    found = in_a_large_directory(tmp_path / "work", PROGRAM.format(fsync=FSYNC, directory=DIRECTORY))
    assert [f for f in found["findings"] if f["label"] != "note"] == []
    assert any(kind["kind"] == "power" and kind["passed"] for kind in found["trials"]["kinds"]), found["trials"]


def test_a_journal_beside_the_file_is_written_out_with_it(tmp_path: Path) -> None:
    place = tmp_path / "work"
    found = in_a_large_directory(place, JOURNALLED, "--model", "ext4", trials=8)
    finding = next(f for f in found["findings"] if f["consequence"] == "stuck")
    written = blackstart(place, "power", "image", finding["id"], "../disk")
    assert written.returncode == 0, written.stderr
    assert list((tmp_path / "disk").rglob("journal")), written.stdout


def test_a_removed_file_stays_away_although_the_machine_has_one_of_that_name(tmp_path: Path) -> None:
    found = in_a_large_directory(tmp_path / "work", REMOVED_FIRST, "--model", "posix")
    assert "No such file" in told(found), found["findings"]
