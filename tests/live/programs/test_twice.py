"""A list that is put into a database, row by row or at once, and then set aside: a kill in between does it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

pytestmark = pytest.mark.live

IMPORTING = """
import os, sqlite3, sys
base = sqlite3.connect("sales.db", isolation_level=None)
base.execute("create table if not exists sale (name {key})")
if os.path.exists("sales.txt"):
    base.execute("begin")
    for line in open("sales.txt"):
        base.execute("insert or replace into sale values (?)", (line.strip(),))
    base.execute("commit")
    os.rename("sales.txt", "sales.done")
print(base.execute("select count(*) from sale").fetchone()[0], "sales")
"""


@pytest.mark.parametrize(("key", "is_noted"), [("", True), ("primary key", False)])
def test_rows_that_a_kill_makes_twice_are_noted_and_keys_prevent_that(key: str, is_noted: bool, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "sales.txt").write_text("nail\nsaw\nbolt\n")
    (work / "importing.py").write_text(IMPORTING.format(key=key))
    ran = run([PYTHON, "importing.py"], work, "--only", "kill")
    noted = [one for one in ran.findings if "twice that clean runs leave once" in one["evidence"][0]]
    assert not ran.defects, ran.said()
    assert bool(noted) == is_noted, ran.said()
    assert all("$CWD/sales.db holds 3 rows twice" in finding["evidence"][0] for finding in noted), ran.said()
