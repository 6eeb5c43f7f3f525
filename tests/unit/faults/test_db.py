"""Kind db: what is particular to databases."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import cast

import msgspec
import pytest

from blackstart.core.calibration import Effect
from blackstart.core.history import Life
from blackstart.core.trace import Operation
from blackstart.faults.db import BREAKS, WRITING, Break, candidates, lock, spoil, take_in
from blackstart.faults.scene import CannotInject, Scene
from blackstart.sandbox import Zygote

from .build import NOTES, atomic_rewrite, calibration, clean, file, trace
from .scenes import conducted


class RealFiles:
    """Stands for a zygote whose images are the machine's own files."""

    def open_in(self, image: str, path: str, flags: int) -> int:
        return os.open(path, flags)


def scene() -> Scene:
    return Scene(zygote=cast(Zygote, RealFiles()), image="image", start="S0", real=str)


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


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_while_another_process_writes_one_may_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    made(path, mode)
    other = sqlite3.connect(path, timeout=0)
    assert other.execute("select count(*) from notes").fetchone() == (0,)
    held = take_in(scene(), str(path), WRITING)
    assert other.execute("select count(*) from notes").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("insert into notes values ('x')")
    os.close(held)
    other.execute("insert into notes values ('x')")
    with pytest.raises(CannotInject):
        take_in(scene(), str(path), WRITING)  # now the other one is writing
    other.close()


class Vanishing(RealFiles):
    """A file that is gone just after it was seen to be there."""

    def open_in(self, image: str, path: str, flags: int) -> int:
        if flags != os.O_PATH:
            raise FileNotFoundError(2, "No such file or directory")
        return super().open_in(image, path, flags)


def test_a_database_that_is_replaced_at_that_moment_is_locked_a_little_later(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    made(path, "delete")
    one = scene()
    with Break(path=str(path), what=WRITING, once_ready=True).inject(one):
        (take,) = one.when_ready
        good, one.zygote = one.zygote, cast(Zygote, Vanishing())
        assert not take()
        one.zygote = good
        assert take()


def test_a_service_meets_locks_once_it_is_ready() -> None:
    one = clean(trace(("pwrite64", NOTES, {"size": 4096})), {NOTES: (file(form="sqlite"),)})
    serving = msgspec.structs.replace(
        calibration(None, one), is_service=True, effects=(Effect(period_s=3.0, names=("write $CWD/ticks",)),)
    )
    found = [str(c.fault) for c in candidates(one, serving) if isinstance(c.fault, Break) and c.fault.once_ready]
    assert found == [
        "$CWD/notes.json is locked for writing by another process once it is ready, for 10 s",
        "$CWD/notes.json is locked by another process once it is ready, for 10 s",
    ]


@pytest.mark.parametrize(("at_s", "fired"), [(2.0, 1), (0.5, 0)])
def test_a_lock_has_acted_when_the_target_turned_to_the_database_after_it(at_s: float, fired: int) -> None:
    fault = Break(path=NOTES, what=WRITING, once_ready=True, hold_s=7.0)
    turned = Operation(index=0, call="fcntl", path="/w/notes.json", masked=NOTES, at_s=at_s)
    seen = msgspec.structs.replace(conducted(), trace=(turned,), life=Life(ready_s=0.9, fired_s=1.0))
    assert fault.account(seen, 0).fired == fired


def test_a_database_that_is_locked_already_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    made(path, "delete")
    with path.open("r+b") as first, path.open("r+b") as second:
        lock(first.fileno())
        with pytest.raises(CannotInject):
            lock(second.fileno())
