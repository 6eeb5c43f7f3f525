"""The fixture `power_loss` as an application's own suite uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.testing import crash_states, materialise, record
from tests.live.sandbox.people import ORDINARY

APPLICATION = """
import json, os, sys
with open("notes.tmp", "w") as f:
    json.dump(["new"] * 2000, f)
    f.flush(){fsync}
os.rename("notes.tmp", "notes.json"){directory}
os.write(1, b"saved\\n")
"""
FSYNC = "\n    os.fsync(f.fileno())"
DIRECTORY = "\nd = os.open('.', os.O_RDONLY); os.fsync(d); os.close(d)"
SUITE = """
import json, sys

def test_it(power_loss, tmp_path):
    (tmp_path / "notes.json").write_text('["old"]')
    for disk in power_loss([sys.executable, {application!r}], state=tmp_path, cwd=tmp_path):
        first = json.loads((disk.path / "notes.json").read_text())[0]
        assert first == "new" or not disk.said
"""


def suite(tmp_path: Path, application: str, test: str = SUITE) -> str:
    (tmp_path / "app.py").write_text(application)
    (tmp_path / "test_app.py").write_text(test.format(application=str(tmp_path / "app.py")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_app.py"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False).stdout


GIVES_UP_ROOT = f"""
import os
os.setgroups([]); os.setgid({ORDINARY}); os.setuid({ORDINARY})
os.mkdir("made"); open("made/new", "w").write("x")
with open("log", "a") as f: f.write("more")
open("temporary", "w").write("x"); os.remove("temporary")
os.write(1, b"saved\\n")
"""


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who gives it up")
def test_what_a_service_writes_once_it_has_given_up_root_stays_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "log").write_text("one")
    for path in (state, state / "log"):
        os.chown(path, ORDINARY, ORDINARY)
    recording = record([sys.executable, "-c", GIVES_UP_ROOT], state=state, cwd=state)
    seen = set()
    for number, disk in enumerate(crash_states(recording, "ext4", "posix")):
        place = tmp_path / f"disk{number}"
        materialise(recording, disk, place)
        seen |= {(path.name, path.stat().st_uid) for path in place.rglob("*")}
    assert {name for name, _ in seen} == {"log", "made", "new", "temporary"}
    assert {user for _, user in seen} == {ORDINARY}


@pytest.mark.live
def test_a_careful_application_passes(tmp_path: Path) -> None:
    assert "1 passed" in suite(tmp_path, APPLICATION.format(fsync=FSYNC, directory=DIRECTORY))


@pytest.mark.live
def test_the_report_of_a_careless_one_says_what_was_missing_and_where(tmp_path: Path) -> None:
    shown = suite(tmp_path, APPLICATION.format(fsync="", directory=""))
    assert "1 failed" in shown and "power cut" in shown
    assert "not on the disk when the power came back: " in shown and "app.py:" in shown and "<module> (" in shown
    assert "this can happen under" in shown and "on stdout before the cut: " in shown


@pytest.mark.live
def test_a_command_that_changes_nothing_there_is_a_mistake_of_the_test(tmp_path: Path) -> None:
    shown = suite(tmp_path, "print('hello')")
    assert "1 failed" in shown and "there is nothing that a power cut could lose" in shown


@pytest.mark.live
def test_a_command_that_fails_is_a_mistake_of_the_test(tmp_path: Path) -> None:
    assert "did not end with status 0" in suite(tmp_path, "raise SystemExit(3)")
