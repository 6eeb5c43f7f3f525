"""Twins of two power cuts that need a real start: after a sync that failed, and during recovery from another cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.live.power.test_job import DIRECTORY, PROGRAM, blackstart, power

RETRIES = """
    try:
        os.fsync(f.fileno())
    except OSError:
        os.fsync(f.fileno())"""
ENDS = RETRIES.replace("OSError:\n        os.fsync(f.fileno())", "OSError:\n        raise SystemExit('not saved')")
WRITES_AGAIN = RETRIES.replace(
    "OSError:\n        os.fsync(f.fileno())",
    "OSError:\n        with open('notes.tmp', 'w') as f:\n            json.dump(notes, f)\n            f.flush()\n"
    "            os.fsync(f.fileno())",
)
IGNORES = RETRIES.replace("OSError:\n        os.fsync(f.fileno())", "OSError:\n        pass")
FAILING = ("--model", "fsync-fails,fsync-fails-btrfs")

RECOVERS = """
import json, os

def put(name, data):
    with open(name, "w") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())

def settle():
    d = os.open(".", os.O_RDONLY); os.fsync(d); os.close(d)

def replace(data):
    put("notes.tmp", data)
    os.rename("notes.tmp", "notes.json")
    settle()

if os.path.exists("journal"):  # an earlier run was cut off: take its step back
    {recovery}
    os.unlink("journal")
notes = json.load(open("notes.json"))
put("undo.tmp", json.dumps(notes))
os.rename("undo.tmp", "journal")
settle()
notes.append("x" * 6000 + str(len(notes)))
replace(json.dumps(notes))
os.unlink("journal")
settle()
os.write(1, b"saved\\n")
"""
IN_PLACE = "open('notes.json', 'w').write(open('journal').read())"
CAREFUL = "replace(open('journal').read())"


def defects(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in found["findings"] if finding["label"] == "defect"]


@pytest.mark.live
def test_a_fsync_that_is_tried_again_after_it_failed_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """covers: R-12"""
    found = power(tmp_path, PROGRAM.format(fsync=RETRIES, directory=DIRECTORY), *FAILING)
    (finding,) = defects(found)
    assert finding["consequence"] in ("corrupt", "lost") and finding["paths"] == ["$CWD/notes.json"]
    text = "\n".join(finding["evidence"])
    assert "dropped when fsync $CWD/notes.tmp @1 at <module> ($CWD/app.py:" in text and "reported EIO" in text
    assert "this can happen under fsync-fails" in text and "not under ext4" in text
    assert "Do not call fsync again" in finding["advice"]
    assert blackstart(tmp_path, "replay", finding["id"]).returncode == 1
    written = blackstart(tmp_path, "power", "image", finding["id"], "disk")
    assert written.returncode == 0, written.stderr
    (broken,) = (tmp_path / "disk").rglob("notes.json")
    assert b"x" not in broken.read_bytes()


@pytest.mark.live
def test_who_takes_no_notice_of_a_failed_fsync_is_told_that_and_nothing_of_a_second_one(tmp_path: Path) -> None:
    """covers: R-12"""
    (finding,) = defects(power(tmp_path, PROGRAM.format(fsync=IGNORES, directory=DIRECTORY), *FAILING))
    assert finding["consequence"] in ("corrupt", "lost")
    assert "Take a failed fsync for a failed write" in finding["advice"] and "again after" not in finding["advice"]


@pytest.mark.live
@pytest.mark.parametrize("answer", [ENDS, WRITES_AGAIN], ids=["ends", "writes everything again"])
def test_with_that_advice_followed_nothing_is_found(tmp_path: Path, answer: str) -> None:
    """covers: R-12"""
    found = power(tmp_path, PROGRAM.format(fsync=answer, directory=DIRECTORY), *FAILING)
    assert found["findings"] == []
    assert found["trials"]["kinds"][0]["passed"] >= 8


@pytest.mark.live
def test_a_recovery_in_place_is_found_by_a_second_cut_only(tmp_path: Path) -> None:
    """covers: R-12"""
    found = power(tmp_path, RECOVERS.replace("{recovery}", IN_PLACE), "--model", "xfs")
    (finding,) = defects(found)
    assert finding["consequence"] == "corrupt"
    text = "\n".join(finding["evidence"])
    assert "recovery itself is not crash-safe" in text and "write $CWD/notes.json @1 at <module> ($CWD/app.py:" in text
    assert "Recovery must be as careful as the work itself" in finding["advice"]
    assert blackstart(tmp_path, "replay", finding["id"]).returncode == 1
    assert blackstart(tmp_path, "export", finding["id"], "e.tar.gz").returncode == 0


@pytest.mark.live
def test_a_careful_recovery_withstands_a_second_cut(tmp_path: Path) -> None:
    """covers: R-12"""
    found = power(tmp_path, RECOVERS.replace("{recovery}", CAREFUL), "--model", "xfs")
    assert found["findings"] == []
    assert found["trials"]["kinds"][0]["passed"] > 20
