"""The main job on programs that replace a file: what is found, its label, and that the advice makes it vanish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, os
try:
    notes = json.load(open("notes.json"))
except FileNotFoundError:
    notes = []
notes.append("x" * 6000 + str(len(notes)))
with open("notes.tmp", "w") as f:
    json.dump(notes, f)
    f.flush(){fsync}
os.rename("notes.tmp", "notes.json"){directory}
os.write(1, b"saved\\n")
"""
FSYNC = "\n    os.fsync(f.fileno())"
DIRECTORY = "\nd = os.open('.', os.O_RDONLY); os.fsync(d); os.close(d)"


def blackstart(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blackstart", *words],
        cwd=place, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def power(place: Path, program: str, *more: str) -> dict[str, Any]:
    place.mkdir(exist_ok=True)
    (place / "app.py").write_text(program)
    (place / "notes.json").write_text('["first"]')
    command = ["power", "--trials", "60", "--seed", "1", "--json", "r.json", *more, "--", sys.executable, "app.py"]
    ended = blackstart(place, *command)
    assert (place / "r.json").exists(), ended.stderr
    found: dict[str, Any] = json.loads((place / "r.json").read_text())
    assert ended.returncode == int(any(f["label"] == "defect" for f in found["findings"])), ended.stderr
    return found


@pytest.mark.live
def test_without_fsync_the_line_is_named_and_the_disk_can_be_written_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one file, two names")
    os.link(tmp_path / "a", tmp_path / "b")
    found = power(tmp_path, PROGRAM.format(fsync="", directory=""), "--model", "ext4,xfs")
    defects = [f for f in found["findings"] if f["label"] == "defect"]
    assert {"corrupt", "lost"} <= {f["consequence"] for f in defects}
    for finding in defects:
        text = "\n".join(finding["evidence"])
        assert "this can happen under" in text and "app.py:" in text
        assert "fsync" in finding["advice"]
    torn = next(f for f in defects if f["consequence"] == "corrupt")
    assert "under xfs" in "\n".join(torn["evidence"]) and torn["plan"]["faults"][0]["model"] == "xfs"
    assert blackstart(tmp_path, "replay", torn["id"]).returncode == 1
    written = blackstart(tmp_path, "power", "image", torn["id"], "disk")
    assert written.returncode == 0, written.stderr
    (broken,) = (tmp_path / "disk").rglob("notes.json")
    with pytest.raises(ValueError):
        json.loads(broken.read_bytes())
    assert os.path.samefile(broken.parent / "a", broken.parent / "b")
    here = tmp_path.resolve()
    assert f"restart on it: cd {here}/disk{here} && " in written.stdout
    assert blackstart(tmp_path, "power", "image", torn["id"], "disk").returncode == 2, "never over what is there"
    assert blackstart(tmp_path, "export", torn["id"], "e.tar.gz").returncode == 0
    with tarfile.open(tmp_path / "e.tar.gz") as archive:
        assert any(name.endswith("README.txt") for name in archive.getnames())
    mended = PROGRAM.format(fsync=FSYNC, directory=DIRECTORY).replace("notes.tmp", "notes.new")
    (tmp_path / "app.py").write_text(mended)
    again = blackstart(tmp_path, "replay", torn["id"])
    assert again.returncode == 0 and "the place is gone" in again.stdout, again.stdout + again.stderr


@pytest.mark.live
def test_with_fsync_only_the_name_is_missing_which_is_policy(tmp_path: Path) -> None:
    found = power(tmp_path, PROGRAM.format(fsync=FSYNC, directory=""))
    by_label = {f["label"]: f for f in found["findings"]}
    assert "defect" not in by_label and by_label["policy"]["consequence"] == "lost"
    assert "its directory and fsync that too" in by_label["policy"]["advice"]


@pytest.mark.live
def test_with_the_advice_followed_nothing_is_found(tmp_path: Path) -> None:
    found = power(tmp_path, PROGRAM.format(fsync=FSYNC, directory=DIRECTORY))
    assert found["findings"] == []
    assert found["trials"]["kinds"][0]["passed"] > 20


@pytest.mark.live
def test_an_unknown_model_is_a_mistake_said_at_once(tmp_path: Path) -> None:
    ended = blackstart(tmp_path, "power", "--model", "exd4", "--", "true")
    assert ended.returncode == 2 and "did you mean ext4?" in ended.stderr


@pytest.mark.live
def test_directories_that_each_restart_makes_anew_are_no_obstacle(tmp_path: Path) -> None:
    """An object store: every run makes a directory that the runs before it have not made."""
    store = """
import hashlib, os
head = open("HEAD").read() if os.path.exists("HEAD") else ""
key = hashlib.sha1(head.encode()).hexdigest()
os.makedirs("objects/" + key[:2], exist_ok=True)
with open("objects/" + key[:2] + "/" + key[2:], "w") as f:
    f.write("after " + head)
    f.flush(); os.fsync(f.fileno())
with open("HEAD.new", "w") as f:
    f.write(key)
    f.flush(); os.fsync(f.fileno())
os.rename("HEAD.new", "HEAD")
"""
    found = power(tmp_path, store)
    (power_row,) = found["trials"]["kinds"]
    assert power_row["kind"] == "power" and power_row["passed"] > 0
