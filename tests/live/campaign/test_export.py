"""A finding handed over: unpacked elsewhere it really fails there, without blackstart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
notes = []
if os.path.exists("notes.json"):
    with open("notes.json") as f:
        notes = json.load(f)
notes.append("milk")
with open("notes.json", "w") as f:
    json.dump(notes, f)
print("saved", flush=True)
"""


def blackstart(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blackstart", *words],
        cwd=place, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


@pytest.mark.live
@pytest.mark.needs("strace")
def test_a_killed_program_fails_elsewhere_as_it_failed_here(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    (here / "app.py").write_text(PROGRAM)
    (here / "notes.json").write_text('["first"]')
    (here / "out").symlink_to("/etc/passwd")
    ended = blackstart(
        here,
        "run",
        "--only",
        "kill",
        "--trials",
        "8",
        "--seed",
        "1",
        "--json",
        "../r.json",
        "--",
        sys.executable,
        "app.py",
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "r.json").read_text())["findings"]
    finding = next(one for one in found if one["consequence"] == "corrupt")
    made = [tmp_path / "one.tar.gz", here / "two.tar.gz"]
    for file in made:
        exported = blackstart(here, "export", f"../r.json#{finding['id']}", str(file))
        assert exported.returncode == 0, exported.stdout + exported.stderr
        assert "left out: before/" in exported.stdout and "/etc/passwd" in exported.stdout
    assert made[0].read_bytes() == made[1].read_bytes()
    elsewhere.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xzf", str(made[0])], cwd=elsewhere, check=True)
    for path in (here / "notes.json", here / "app.py"):
        path.unlink()  # nothing of it is needed
    top = elsewhere / finding["id"]
    good, bad = (
        subprocess.run(["sh", "start.sh", state], cwd=top, capture_output=True, text=True, timeout=500, check=False)
        for state in ("before", "broken")
    )
    assert (good.returncode, good.stdout) == (0, "saved\n")
    assert bad.returncode == 1 and "JSONDecodeError" in bad.stderr
    kept = next((top / "before").rglob("notes.json"))
    assert len(json.loads(kept.read_bytes())) > 1
    subprocess.run(["sh", "start.sh", "before", "strace"], cwd=top, capture_output=True, timeout=500, check=False)
    assert kept.read_bytes() == b"", "strace killed it at the same place"
    text = (top / "README.txt").read_text()
    assert finding["fault"] in text and finding["advice"] in text and "app.py:" in text
    assert f"report.json#{finding['id']}" in text


@pytest.mark.live
def test_what_no_longer_fails_is_not_handed_over(tmp_path: Path) -> None:
    """A finding of a program that has been repaired since, in its report."""
    (tmp_path / "app.py").write_text('print("saved")\n')
    point = {"call": "write", "path": "$CWD/notes.json", "nth": 1}
    plan = {"kind": "kill", "start": "S0", "faults": [{"fault": "kill", "point": point}]}
    finding = {
        "id": "corrupt-1", "fingerprint": "1-x", "severity": "critical", "label": "defect", "consequence": "corrupt",
        "kind": "kill", "fault": "kill before write $CWD/notes.json @1", "plan": plan,
    }  # fmt: skip
    report = {"schema": "blackstart-report/1", "command": [sys.executable, "app.py"], "findings": [finding]}
    (tmp_path / "r.json").write_text(json.dumps(report))
    ended = blackstart(tmp_path, "export", "r.json#corrupt-1")
    assert ended.returncode == 3 and "does not fail here" in ended.stderr, ended.stderr
    assert not list(tmp_path.glob("*.tar.gz"))
