"""Real stores after a power cut: the table of SQLite's journal modes, and stores that write in place."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.testing import crash_states, explain, materialise, record

STATES = 250
JOB = """
import os, sqlite3, sys
con = sqlite3.connect("db", isolation_level=None)
con.execute("pragma synchronous=" + sys.argv[1])
for _ in range(3):
    con.execute("begin")
    con.execute("insert into t(v) values(hex(zeroblob(1500)))")
    con.execute("insert into u select max(id) from t")
    con.execute("commit")
    os.write(1, b"acked %d\\n" % con.execute("select max(id) from t").fetchone()[0])
"""
REAL = ("ext4", "xfs", "btrfs")


def answer(place: Path) -> tuple[str, int]:
    """(corrupt, half or whole; the highest row) of a database, read on a copy that is thrown away."""
    try:
        with contextlib.closing(sqlite3.connect(place / "db", timeout=0)) as con:
            if con.execute("pragma integrity_check").fetchall() != [("ok",)]:
                return "corrupt", 0
            rows = {row for (row,) in con.execute("select id from t")}
            others = {row for (row,) in con.execute("select n from u")}
        return ("whole" if rows == others and rows == set(range(1, len(rows) + 1)) else "half"), max(rows, default=0)
    except sqlite3.DatabaseError:
        return "corrupt", 0


def outcomes(tmp_path: Path, journal: str, synchronous: str) -> set[str]:
    state = tmp_path / "state"
    state.mkdir()
    with contextlib.closing(sqlite3.connect(state / "db", isolation_level=None)) as con:
        con.execute(f"pragma journal_mode={journal}")
        con.execute("create table t(id integer primary key, v text)")
        con.execute("create table u(n)")
        con.execute("insert into t(v) values(hex(randomblob(2000)))")
        con.execute("insert into u values(1)")
    recording = record([sys.executable, "-I", "-S", "-c", JOB, synchronous], state=state, cwd=state)
    assert set(recording.uncovered) <= {str(state / "db-shm")}
    found: set[str] = set()
    for crash in crash_states(recording, *REAL, limit=STATES):
        place = tmp_path / "disk"
        materialise(recording, crash, place)
        how, highest = answer(place)
        shutil.rmtree(place)
        said = b"".join(e.data for e in recording.outputs_before(crash.cut)).split()
        acked = int(said[-1]) if said else 1
        if how != "whole":
            found.add(how)
        elif highest < acked:
            found.add("policy" if explain(recording, crash).only_last_name else "lost")
            assert highest == acked - 1 or "policy" not in found
    return found


@pytest.mark.live
@pytest.mark.parametrize(
    "journal, synchronous, expected",
    [
        ("delete", "OFF", {"corrupt", "half", "lost"}),
        # The documented window: header and records of the journal share one sync, and its checksum looks at few bytes.
        ("delete", "NORMAL", {"policy", "corrupt"}),
        ("delete", "FULL", {"policy"}),
        ("delete", "EXTRA", set()),
        ("wal", "OFF", {"corrupt", "lost"}),
        ("wal", "NORMAL", {"lost"}),
        ("wal", "FULL", set()),
        ("wal", "EXTRA", set()),
    ],
)
def test_sqlite(tmp_path: Path, journal: str, synchronous: str, expected: set[str]) -> None:
    found = outcomes(tmp_path, journal, synchronous)
    if synchronous == "OFF":
        assert {"corrupt", "lost"} <= found | {"lost"} and found & {"corrupt", "half"} and found <= expected | {"half"}
    else:
        assert found == expected


CONFIG = """
import configparser, os
c = configparser.ConfigParser(); c.read("store"); c["a"]["n"] = str(int(c["a"]["n"]) + 1)
with open("store", "w") as f:
    c.write(f)
os.write(1, b"saved\\n")
"""
DUMB = """
import dbm.dumb, os
with dbm.dumb.open("store", "w") as d:
    d["n"] = str(int(d["n"]) + 1)
os.write(1, b"saved\\n")
"""
TINY = """
import os, tinydb
with tinydb.TinyDB("store") as d:
    d.insert({"n": 1})
os.write(1, b"saved\\n")
"""
PICKLE = """
import os, pickledb
d = pickledb.PickleDB("store"); d.load(); d.set("n", d.get("n") + 1); d.save()
os.write(1, b"saved\\n")
"""


def stores() -> list[tuple[str, str, str]]:
    """(name, what makes it, what changes it)"""
    return [
        ("configparser", "open('store', 'w').write('[a]\\nn = 1\\nlong = ' + 'x' * 9000 + '\\n')", CONFIG),
        ("dbm.dumb", "import dbm.dumb; d = dbm.dumb.open('store', 'c'); d['n'] = '1'; d['x'] = 'x' * 9000", DUMB),
        ("tinydb", "import tinydb; tinydb.TinyDB('store').insert({'x': 'x' * 9000})", TINY),
        ("pickledb", "import pickledb; d = pickledb.PickleDB('store'); d.set('n', 1); d.save()", PICKLE),
    ]


@pytest.mark.live
@pytest.mark.parametrize("name, make, change", stores())
def test_stores_that_never_sync_lose_or_corrupt_and_the_line_is_named(
    tmp_path: Path, name: str, make: str, change: str
) -> None:
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"needs {name} (not installed)")
    state, program = tmp_path / "state", tmp_path / "change.py"
    state.mkdir()
    program.write_text(change)
    subprocess.run([sys.executable, "-c", make], cwd=state, check=True)
    old = {p.name: p.read_bytes() for p in state.iterdir()}
    recording = record([sys.executable, str(program)], state=state, cwd=state)
    new = {p.name: p.read_bytes() for p in state.iterdir()}
    assert new != old
    bad = []
    for crash in crash_states(recording, "ext4", limit=100):
        place = tmp_path / "disk"
        materialise(recording, crash, place)
        seen = {p.name: p.read_bytes() for p in place.iterdir()}
        shutil.rmtree(place)
        torn = seen not in (old, new)
        lost = bool(recording.outputs_before(crash.cut)) and seen != new
        if torn or lost:
            bad.append(explain(recording, crash))
    assert bad, "nothing was found"
    assert any(".py:" in line for cut in bad for line in cut.missing), bad[0].missing
