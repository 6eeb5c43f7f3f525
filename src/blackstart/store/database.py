"""Opening the store's file, and the operator's words for what can go wrong with it.

Opening is done under a file lock, because two first runs at once would both create the tables. Write-ahead logging lets
a reader look while a run writes; where the file system cannot do it, SQLite's own rollback journal is as good, only
slower. `synchronous=NORMAL` outlives our own SIGKILL, which is what the store promises.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from blackstart.core.errors import BlackstartError
from blackstart.store import migrations

FILE = "results.sqlite"
BUSY_S = 30.0


def open_database(folder: str, now: float, *, where: str = "") -> sqlite3.Connection:
    """The open store in this existing folder, its tables up to date; where: what an error calls it."""
    path = os.path.join(folder, FILE)
    with translated(where or path), _locked(folder):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _prepare(connection, where or path, now)
        except BaseException:
            connection.close()
            raise
    return connection


def create_folder(folder: str) -> None:
    """Make the folder, readable by its owner only, that version control does not see."""
    try:
        _make_folder(folder)
        ignore = os.path.join(folder, ".gitignore")
        if not os.path.exists(ignore):
            descriptor = os.open(ignore, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("*\n")
    except OSError as error:
        raise BlackstartError(
            f"results cannot be kept here: {error.strerror}",
            where=folder,
            next_step="run in a directory that you may write to, or free space on it",
        ) from error


def _make_folder(folder: str) -> None:
    """A directory that is there already is ours."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if os.path.islink(folder) or not os.path.isdir(folder):
            raise BlackstartError(
                "results cannot be kept here: the name is taken by something that is not a directory",
                where=folder,
                next_step="move it away, or run in another directory",
            ) from None


@contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's errors as the operator's: locked, full, read-only, damaged."""
    try:
        yield
    except sqlite3.Error as error:
        raise _as_operator_error(error, path) from error


def _as_operator_error(error: sqlite3.Error, path: str) -> BlackstartError:
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.InterfaceError):
        raise AssertionError(f"wrong use of the store: {error}") from error
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    folder = os.path.dirname(path)
    steps = {
        sqlite3.SQLITE_BUSY: ("the stored results are locked by another process", "wait until it ends, then try again"),
        sqlite3.SQLITE_LOCKED: ("the stored results are locked by another process", "wait until it ends, try again"),
        sqlite3.SQLITE_FULL: ("there is no space left for the results", f"free space, or delete {folder}"),
        sqlite3.SQLITE_IOERR: ("the results cannot be read or written", "free space, and check the disk"),
        sqlite3.SQLITE_READONLY: ("the stored results may not be written", f"make {folder} writable for you"),
        sqlite3.SQLITE_PERM: ("the stored results may not be opened", f"make {folder} writable for you"),
        sqlite3.SQLITE_CANTOPEN: ("the stored results cannot be opened", f"make {folder} writable for you"),
    }
    what, step = steps.get(code, ("the stored results are damaged", f"move {folder} away; the next run begins afresh"))
    return BlackstartError(f"{what} ({error})", where=path, next_step=step)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    try:
        descriptor = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BlackstartError(
            f"results cannot be kept here: {error.strerror}",
            where=folder,
            next_step="make the directory writable for you, or run elsewhere",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: str, now: float) -> None:
    present = migrations.version_of(connection)
    if present > migrations.VERSION:
        raise BlackstartError(
            f"these results were written by a newer blackstart (schema {present}, this one knows {migrations.VERSION})",
            where=path,
            next_step=f"upgrade blackstart, or move {os.path.dirname(path)} away",
        )
    if present == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    migrations.migrate(connection, now)
