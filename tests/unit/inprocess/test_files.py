"""Broken files and databases: good before, broken inside, good again after, and what the program wrote is kept.

covers: R-1, R-2, M-5
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blackstart.inprocess import NotArmable, files, sqlite

CONTENT = b'{"ec": 1.8, "ph": 6.1}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    (tmp_path / "state.json").write_bytes(CONTENT)
    return tmp_path / "state.json"


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        (lambda path: files.truncated(path, 5), lambda path: path.read_bytes() == CONTENT[:5]),
        (files.truncated, lambda path: path.read_bytes() == CONTENT[: len(CONTENT) // 2]),
        (files.empty, lambda path: path.read_bytes() == b""),
        (files.missing, lambda path: not path.exists()),
        (files.garbage, lambda path: len(path.read_bytes()) == len(CONTENT) and path.read_bytes() != CONTENT),
    ],
    ids=["truncated at n", "truncated", "empty", "missing", "garbage"],
)
def test_a_file_is_broken_and_put_back(path: Path, damage: object, broken: object) -> None:
    """covers: R-1"""
    status = path.stat()
    with damage(path):  # type: ignore[operator]
        assert broken(path)  # type: ignore[operator]
    assert path.read_bytes() == CONTENT
    assert (path.stat().st_mode, path.stat().st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    with pytest.raises(KeyError), damage(path):  # type: ignore[operator]
        raise KeyError
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [files.missing, files.truncated, files.read_only])
def test_it_is_the_same_file_again_by_a_link_and_from_another_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[str], AbstractContextManager[Path]]
) -> None:
    """covers: R-1"""
    (link := path.with_name("link")).symlink_to(path)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    status = path.stat()
    monkeypatch.chdir(path.parent)
    with damage("link"):
        monkeypatch.chdir("/")
    assert link.is_symlink() and link.read_bytes() == CONTENT
    found = path.stat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (status.st_mode, status.st_uid, status.st_gid)


def test_what_the_program_wrote_meanwhile_is_kept(path: Path) -> None:
    with files.garbage(path):
        path.write_bytes(b"{}")
    assert path.read_bytes() == b"{}"


def test_permissions_bite_whoever_runs_the_test_and_come_back(path: Path) -> None:
    """covers: R-1"""
    with files.unreadable(path), pytest.raises(PermissionError):
        path.read_bytes()
    with files.read_only(path):
        assert path.read_bytes() == CONTENT
        with pytest.raises(PermissionError):
            path.write_bytes(b"")
    with files.read_only(path.parent), pytest.raises(PermissionError):
        (path.parent / "new").write_bytes(b"")
    path.write_bytes(CONTENT)
    (path.parent / "new").write_bytes(b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root has the capabilities that are dropped")
def test_other_threads_keep_their_capabilities(path: Path) -> None:
    go, read = threading.Event(), []

    def other() -> None:
        go.wait()
        read.append(path.read_bytes())

    thread = threading.Thread(target=other)
    thread.start()
    with files.unreadable(path):
        go.set()
        thread.join()
    assert read == [CONTENT]


def emptied(fault: Any, path: Path) -> Any:
    path.write_bytes(b"")
    return fault(path)


@pytest.mark.parametrize(
    ("damage", "broken"), [(files.missing, None), (lambda path: files.overwritten(path, b"new"), b"new")]
)
def test_a_lock_or_a_marker_without_content_can_be_broken(path: Path, damage: Any, broken: bytes | None) -> None:
    with emptied(damage, path):
        assert (path.read_bytes() if path.exists() else None) == broken
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: files.truncated(path, 500), "cannot be cut to 500"),
        (lambda path: files.empty(path.with_name("absent")), "is no file"),
        (lambda path: files.unreadable(path.with_name("absent")), "is not there"),
        (lambda path: files.overwritten(path, CONTENT), "would be as it was"),
        *[(partial(emptied, fault), "is empty already") for fault in (files.truncated, files.empty, files.garbage)],
    ],
)
def test_a_fault_that_would_change_nothing_is_refused(path: Path, damage: object, says: str) -> None:
    with pytest.raises(NotArmable, match=says), damage(path):  # type: ignore[operator]
        pass


@pytest.fixture(params=["delete", "wal"])
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A good database, with and without a write-ahead log."""
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute(f"PRAGMA journal_mode={request.param}")
        connection.execute("CREATE TABLE jobs (id)")
        connection.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(1000)])
    return tmp_path / "jobs.db"


def count(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
        return int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0])


@pytest.mark.parametrize("damage", [sqlite.header_lost, sqlite.truncated, sqlite.garbage, sqlite.empty, sqlite.missing])
def test_a_database_is_broken_as_sqlite_sees_it_and_put_back(database: Path, damage: object) -> None:
    """covers: R-2"""
    with damage(database), pytest.raises(sqlite3.Error):  # type: ignore[operator]
        count(database)
    for leftover in database.parent.glob("jobs.db-*"):
        leftover.unlink()
    assert count(database) == 1000
    assert sqlite.fault_of(database) == ""


def test_a_read_only_database_can_be_read(database: Path) -> None:
    """covers: R-2"""
    with sqlite.read_only(database):
        with closing(sqlite3.connect(database)) as connection, pytest.raises(sqlite3.OperationalError):
            connection.execute("INSERT INTO jobs VALUES (1)")
    assert count(database) == 1000


def write(path: Path, timeout_s: float) -> None:
    with closing(sqlite3.connect(path, timeout=timeout_s)) as connection, connection:
        connection.execute("INSERT INTO jobs VALUES (1)")


def test_a_lock_is_held_by_another_process_until_the_end(database: Path) -> None:
    """covers: R-2"""
    with sqlite.locked(database), pytest.raises(sqlite3.OperationalError, match="locked"):
        write(database, 0)
    write(database, 0)


def test_a_lock_can_be_held_for_a_time(database: Path) -> None:
    """covers: R-2"""
    with sqlite.locked(database, for_s=0.2):
        write(database, 60)


def test_a_database_that_is_broken_already_is_refused(database: Path) -> None:
    with sqlite.header_lost(database):
        with pytest.raises(NotArmable, match="no whole database before"), sqlite.garbage(database):
            pass


def test_what_stands_in_a_write_ahead_log_does_not_hide_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "open.db"
    with closing(sqlite3.connect(path)) as program, program:
        program.execute("PRAGMA journal_mode=wal")
        program.execute("CREATE TABLE jobs (id)")
        program.commit()
        assert path.with_name("open.db-wal").stat().st_size > 0
        with sqlite.header_lost(path), pytest.raises(sqlite3.Error):
            count(path)
        assert count(path) == 0


@pytest.mark.parametrize("damage", [sqlite.empty, sqlite.missing, sqlite.truncated, sqlite.garbage])
def test_what_stands_in_a_write_ahead_log_comes_back(
    tmp_path: Path, damage: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    """covers: R-2"""
    killed, path = tmp_path / "killed.db", tmp_path / "left.db"
    with closing(sqlite3.connect(killed)) as program:
        program.execute("PRAGMA journal_mode=wal")
        program.execute("CREATE TABLE jobs (id)")
        program.executemany("INSERT INTO jobs VALUES (?)", [(number,) for number in range(2000)])
        program.commit()
        for end in ("", "-wal"):
            shutil.copy(f"{killed}{end}", f"{path}{end}")
    with damage(path), suppress(sqlite3.Error):
        if path.exists():  # SQLite would make a new one, which is kept
            count(path)
    assert count(path) == 2000


DYING = """
import os, signal, sys
from pathlib import Path
from blackstart.inprocess import files
path = Path(sys.argv[1])
with {break_it}:
    {meanwhile}
    print(path.exists(), flush=True)
    {die}
"""


@pytest.mark.parametrize("die", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"], ids=["killed", "exits"])
@pytest.mark.parametrize(
    "break_it",
    ["files.truncated(path, 3)", "files.missing(path)", "files.garbage(path)", "files.read_only(path)",
     "files.missing(path), files.overwritten(path.with_name('second'), b'?')"],
)  # fmt: skip
def test_a_file_comes_back_though_the_process_of_the_test_dies(path: Path, break_it: str, die: str) -> None:
    """covers: M-5"""
    second = path.with_name("second")
    second.write_bytes(b"other")
    status = path.stat()
    script = DYING.format(break_it=break_it, meanwhile="", die=die)
    ended = subprocess.run([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode and ended.stdout.strip() == str("missing" not in break_it)
    until(lambda: path.exists() and path.read_bytes() == CONTENT and path.stat().st_mode == status.st_mode)
    until(lambda: path.stat().st_mtime_ns == status.st_mtime_ns and second.read_bytes() == b"other")


def test_what_the_program_wrote_is_kept_though_the_process_of_the_test_dies(path: Path) -> None:
    die = "os._exit(1)"
    script = DYING.format(break_it="files.missing(path)", meanwhile="path.write_bytes(b'new')", die=die)
    (kept := path.with_name("kept")).mkdir()
    environment = os.environ | {"TMPDIR": str(kept)}
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, env=environment) as dying:
        assert dying.wait(60) == 1
    until(lambda: not [*kept.iterdir()])
    assert path.read_bytes() == b"new"


def until(met: Callable[[], bool], deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not met():
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.01)
