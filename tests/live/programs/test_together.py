"""Two files that clean runs change together: the program that leaves them apart is told in a note, its twin is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

pytestmark = pytest.mark.live
HEAD = """
import json, os
def load(path, default):
    return json.load(open(path)) if os.path.exists(path) else default
def save(path, value):
    with open(path + ".tmp", "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".tmp", path)
    os.sync()
"""
APART = """
accounts, ledger = load("accounts.json", {"a": 100, "b": 0}), load("ledger.json", [])
accounts["a"] -= 10
accounts["b"] += 10
save("accounts.json", accounts)
save("ledger.json", [*ledger, 10])
print("moved", accounts["b"])
"""
# What is to be done is noted first, and whoever finds the note does the rest of it.
FINISHED = """
if os.path.exists("todo.json"):
    for path, value in load("todo.json", {}).items():
        save(path, value)
    os.unlink("todo.json")
accounts, ledger = load("accounts.json", {"a": 100, "b": 0}), load("ledger.json", [])
accounts["a"] -= 10
accounts["b"] += 10
save("todo.json", {"accounts.json": accounts, "ledger.json": [*ledger, 10]})
save("accounts.json", accounts)
save("ledger.json", [*ledger, 10])
os.unlink("todo.json")
print("moved", accounts["b"])
"""

MIGRATED = """
steps = [lambda: save("version.json", 2), lambda: save("ann.json", {"first": "Ann", "last": "Lee"})]
if load("version.json", 1) == 2:
    print("is at version 2")
else:
    for step in steps if os.environ["MODE"] == "marked first" else reversed(steps):
        step()
    print("migrated")
"""


@pytest.mark.parametrize("mode", ["marked first", "marked last"])
def test_work_that_is_marked_as_done_before_it_is(tmp_path: Path, mode: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "migrate.py").write_text(HEAD + MIGRATED)
    (work / "ann.json").write_text('{"name": "Ann Lee"}')
    (work / "version.json").write_text("1")
    ran = run([PYTHON, "-S", "migrate.py"], work, "--only", "kill", "--env", f"MODE={mode}")
    assert ran.status == 0 and not ran.defects, ran.said()
    told = [one["evidence"][0] for one in ran.findings if "stood there at the start" in one["evidence"][0]]
    assert [text.partition(" has ")[0].rpartition("/")[2] for text in told] == ["ann.json"] * (mode == "marked first")


@pytest.mark.parametrize("body", [APART, FINISHED], ids=["apart", "finished"])
def test_files_that_a_kill_leaves_apart(tmp_path: Path, body: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "bank.py").write_text(HEAD + body)
    ran = run([PYTHON, "-S", "bank.py"], work, "--only", "kill")
    notes = [one for one in ran.findings if "clean runs leave" in one["evidence"][0]]
    assert ran.status == 0 and not ran.defects, ran.said()
    if body is FINISHED:
        assert not notes, ran.said()
        return
    assert notes, ran.said()
    said = notes[0]["evidence"][0]
    assert "$CWD/accounts.json has what 2 clean runs leave and $CWD/ledger.json has what 1 clean run leaves" in said
    assert "one transaction" in notes[0]["advice"]
