"""SQLite databases that are broken or locked, each proven with SQLite itself: whole before, broken after.

The lock is held by a second process, as in life: a lock of the same process is another thing to SQLite. It ends with
the fault, and with this process however that ends, for it waits on a pipe.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

from blackstart.core.randomness import Seed
from blackstart.inprocess import files
from blackstart.inprocess.clock import after
from blackstart.inprocess.errors import NotArmable

HEADER_BYTES = 100
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    connection.execute("BEGIN EXCLUSIVE")
except sqlite3.Error as error:
    sys.exit(str(error))
sys.stdout.write("held\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def header_lost(path: str | Path) -> Iterator[Path]:
    """The first 100 bytes, SQLite's header, are zeros."""
    content = files.good(path)
    spoilt = bytes(min(HEADER_BYTES, len(content))) + content[HEADER_BYTES:]
    with _broken(path, lambda: files.overwritten(path, spoilt)):
        yield Path(path)


@contextmanager
def truncated(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """The file ends after `size` bytes, half of it if None."""
    with _broken(path, lambda: files.truncated(path, size)):
        yield Path(path)


@contextmanager
def garbage(path: str | Path, seed: int | Seed = 0) -> Iterator[Path]:
    """Random bytes."""
    with _broken(path, lambda: files.garbage(path, seed)):
        yield Path(path)


@contextmanager
def empty(path: str | Path) -> Iterator[Path]:
    """No bytes: to SQLite that is a new database without tables."""
    with _whole(path):
        _settle(path)
        with files.empty(path):
            yield Path(path)


@contextmanager
def missing(path: str | Path) -> Iterator[Path]:
    """No file, and no write-ahead log."""
    with _whole(path):
        _settle(path)
        with files.missing(path):
            yield Path(path)


@contextmanager
def read_only(path: str | Path) -> Iterator[Path]:
    """The database can be read, not written; its directory neither, where journals are made."""
    with _whole(path), files.read_only(Path(path).parent), files.read_only(path):
        yield Path(path)


@contextmanager
def locked(path: str | Path, for_s: float | None = None) -> Iterator[Path]:
    """Another process holds an exclusive transaction: for `for_s` seconds, or until the end of the block.

    As ever with SQLite, who only reads a database with a write-ahead log is not kept out. The seconds are those of the
    code under test, whose clock may be replaced; a wait inside SQLite is a true one.
    """
    holder: subprocess.Popen[str] | None = None
    try:
        with _whole(path):
            holder = subprocess.Popen(
                [sys.executable, "-c", _HOLDER, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert holder.stdin and holder.stdout and holder.stderr
        if holder.stdout.readline() != "held\n":
            raise NotArmable(f"{path} cannot be locked: {holder.stderr.read().strip()}")
        with after(for_s, holder.stdin.close) if for_s is not None else nullcontext():
            yield Path(path)
    finally:
        if holder is not None:
            with holder:  # closes what leads to it, its input too, so it ends
                pass


def fault_of(path: str | Path) -> str:
    """What SQLite says is wrong with this database; `""` if it is whole. A missing or empty one has nothing wrong."""
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            return "" if answer == "ok" else str(answer)
    except sqlite3.Error as error:
        return str(error)


@contextmanager
def _whole(path: str | Path) -> Iterator[None]:
    files.good(path)
    fault = fault_of(path)
    if fault:
        raise NotArmable(f"{path} is no whole database before it is broken: {fault}")
    yield


@contextmanager
def _broken(path: str | Path, damage: Callable[[], AbstractContextManager[Path]]) -> Iterator[None]:
    with _whole(path):
        _settle(path)
        with damage():
            if not fault_of(path):
                raise NotArmable(f"{path} is still whole after the damage", next_step="cut or spoil more of it")
            yield


def _settle(path: str | Path) -> None:
    """Move what stands in a write-ahead log into the file: the log would hide the damage, or be lost with it."""
    with closing(sqlite3.connect(path, timeout=1)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
