"""Kind db: what is particular to databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from blackstart.faults.db import BREAKS, Break, candidates, lock, spoil
from blackstart.faults.scene import CannotInject

from .build import NOTES, atomic_rewrite, calibration, clean, file, trace


def test_only_databases_are_broken() -> None:
    run = trace(("read", NOTES), ("pwrite64", NOTES, {"size": 4096}))
    for form, expected in (("sqlite", set(BREAKS)), ("json", set())):
        one = clean(run, {NOTES: (file(form=form),)})
        found = [c.fault for c in candidates(one, calibration(None, one)) if not c.crash]
        assert {fault.what for fault in found if isinstance(fault, Break)} == expected


def test_a_database_that_does_not_stand_there_yet_is_left_alone() -> None:
    one = clean(atomic_rewrite(), {NOTES: (None, file(form="sqlite"))})
    assert list(candidates(one, calibration(None, one))) == []


def test_recovery_meets_a_locked_database() -> None:
    run = trace(("pwrite64", NOTES, {"size": 4096}))
    one = clean(run, {NOTES: (file(form="sqlite"),)})
    late = [c for c in candidates(one, calibration(None, one)) if c.crash]
    assert [str(c.fault) for c in late] == ["$CWD/notes.json is locked by another process during recovery"]


def test_a_lock_is_over_before_the_restart_and_damage_is_not() -> None:
    assert not Break(path=NOTES, what="locked").lasting
    assert all(Break(path=NOTES, what=what).lasting for what in BREAKS if what != "locked")


def test_spoiling_keeps_the_length() -> None:
    content = bytes(range(256)) * 40
    assert spoil(content, "header lost")[:100] == bytes(100)
    assert spoil(content, "header lost")[100:] == content[100:]
    lost = spoil(content, "page lost")
    assert len(lost) == len(content)
    assert lost[: len(content) // 2] == content[: len(content) // 2]
    assert set(lost[len(content) // 2 :]) == {0}
    assert spoil(b"short", "header lost") == bytes(5)


def made(path: Path, mode: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"pragma journal_mode={mode}")
        database.execute("create table notes(text)")
    database.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_lock_is_one_that_the_library_respects(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    made(path, mode)
    other = sqlite3.connect(path, timeout=0)
    with path.open("r+b") as held:
        lock(held.fileno())
        with path.open("rb"):
            pass  # whoever else opens and closes the file in our process releases nothing
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("insert into notes values ('x')")
    other.execute("insert into notes values ('x')")
    other.close()


def test_a_database_that_is_locked_already_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    made(path, "delete")
    with path.open("r+b") as first, path.open("r+b") as second:
        lock(first.fileno())
        with pytest.raises(CannotInject):
            lock(second.fileno())
