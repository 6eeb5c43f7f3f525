"""Runs that other machines kept, copied into a store here.

A run has a mark that no other has, so that a second merge adds nothing. The other store is only read: a copy of it is
brought up to date and joined, because it may be older, on a medium that cannot be written, or in use.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import zlib
from pathlib import Path

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.store.database import FILE, open_database, translated
from blackstart.store.store import DIRECTORY, Store

_RUN_COLUMNS = "command, cwd, seed, version, options, started, finished, mark"


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """copied: runs that are new here; present: that were here; running: left out, they have no end yet."""

    copied: int = 0
    present: int = 0
    running: int = 0


def merge_into(store: Store, directory: str) -> Merged:
    """Copy the finished runs of the store in `directory` (or in its `.blackstart`), oldest first."""
    path = _file_in(directory)
    if os.path.realpath(path) == os.path.realpath(store.path):
        raise BlackstartError("a store cannot be merged into itself", where=path, next_step="name another directory")
    with tempfile.TemporaryDirectory(prefix="blackstart-merge-") as work:
        with translated(path):
            _copy(path, os.path.join(work, FILE))
        open_database(work, 0.0, where=path).close()
        with store.joined(os.path.join(work, FILE)) as connection:
            return _copy_runs(connection)


def _file_in(directory: str) -> str:
    places = [os.path.join(directory, FILE), os.path.join(directory, DIRECTORY, FILE)]
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        raise BlackstartError(
            "there is no store", where=directory, next_step="name a directory in which `blackstart run` was started"
        )
    return found


def _copy(source: str, target: str) -> None:
    """A consistent copy, also while somebody writes."""
    try:
        reader = sqlite3.connect(f"{Path(os.path.abspath(source)).as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            writer = sqlite3.connect(target)
            try:
                reader.backup(writer)
            finally:
                writer.close()
        finally:
            reader.close()
    except sqlite3.OperationalError as error:
        # Write-ahead logging needs a file beside the store; where none can be made, nobody writes either.
        if os.access(os.path.dirname(os.path.abspath(source)), os.W_OK):
            raise
        for end in ("", "-wal"):
            if os.path.exists(source + end):
                shutil.copyfile(source + end, target + end)
        if not os.path.exists(target):
            raise error


def _copy_runs(connection: sqlite3.Connection) -> Merged:
    rows = connection.execute("SELECT id, mark, finished FROM other.runs ORDER BY started, id").fetchall()
    here = {row[0] for row in connection.execute("SELECT mark FROM main.runs")}
    new = [row[0] for row in rows if row[1] not in here and row[2] is not None]
    for run in new:
        _copy_run(connection, run)
    _copy_tests(connection)
    present = sum(row[1] in here for row in rows)
    return Merged(copied=len(new), present=present, running=len(rows) - len(new) - present)


def _copy_run(connection: sqlite3.Connection, old: int) -> None:
    sql = f"INSERT INTO main.runs ({_RUN_COLUMNS}) SELECT {_RUN_COLUMNS} FROM other.runs WHERE id = ?"
    new = connection.execute(sql, (old,)).lastrowid
    report = connection.execute("SELECT report FROM other.runs WHERE id = ?", (old,)).fetchone()[0]
    connection.execute("UPDATE main.runs SET report = ? WHERE id = ?", (_renumbered(report, new), new))
    # Numbers above all that were ever given here, so that none is given twice.
    last = connection.execute("SELECT seq FROM main.sqlite_sequence WHERE name = 'trials'").fetchone()
    names = {"old": old, "new": new, "shift": last[0] if last else 0}
    connection.execute(
        "INSERT INTO main.trials (id, run, kind, plan, outcome, started, finished) "
        "SELECT id + :shift, :new, kind, plan, outcome, started, finished FROM other.trials WHERE run = :old",
        names,
    )
    connection.execute(
        "INSERT INTO main.histories (trial, failed, history, verdicts) "
        "SELECT trial + :shift, failed, history, verdicts FROM other.histories "
        "WHERE trial IN (SELECT id FROM other.trials WHERE run = :old)",
        names,
    )
    connection.execute(
        "INSERT INTO main.findings (id, run, fingerprint, severity, consequence, data) "
        "SELECT id, :new, fingerprint, severity, consequence, data FROM other.findings WHERE run = :old",
        names,
    )


def _copy_tests(connection: sqlite3.Connection) -> None:
    """What test suites found there; of a test that both know, what was found last."""
    connection.execute(
        "INSERT INTO main.tests (scenario, test, outcome, reason, finished) "
        "SELECT scenario, test, outcome, reason, finished FROM other.tests WHERE true "
        "ON CONFLICT (scenario, test) DO UPDATE "
        "SET outcome = excluded.outcome, reason = excluded.reason, finished = excluded.finished "
        "WHERE excluded.finished > main.tests.finished"
    )


def _renumbered(report: bytes | None, run: int | None) -> bytes | None:
    """The report with its number here, and without its comparison with a run that has another number here."""
    if report is None:
        return None
    value = msgspec.json.decode(zlib.decompress(report))
    value["run"] = str(run)
    value.pop("change", None)
    return zlib.compress(msgspec.json.encode(value), 6)
