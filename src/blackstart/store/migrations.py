"""The tables, as the steps that made them.

A step is never edited once released: a store of any age is brought up to date by the steps that it lacks, all in one
transaction. Blobs hold what other packages encoded; the store reads only the findings of a report.
"""

from __future__ import annotations

import sqlite3

# Nothing was ever kept in `artefacts`; a step of its own that drops it would keep earlier versions out of the store.
_FIRST = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command BLOB NOT NULL,
    cwd BLOB NOT NULL,
    seed INTEGER NOT NULL,
    version TEXT NOT NULL,
    options BLOB NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    report BLOB
);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    plan BLOB NOT NULL,
    outcome TEXT,
    started REAL NOT NULL,
    finished REAL
);
CREATE INDEX trials_of_run ON trials (run);
CREATE TABLE histories (
    trial INTEGER PRIMARY KEY REFERENCES trials (id) ON DELETE CASCADE,
    failed INTEGER NOT NULL,
    history BLOB NOT NULL,
    verdicts BLOB NOT NULL
);
CREATE INDEX histories_by_worth ON histories (failed, trial);
CREATE TABLE findings (
    id TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    severity TEXT NOT NULL,
    consequence TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, id)
);
CREATE INDEX findings_by_id ON findings (id);
CREATE TABLE artefacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    trial INTEGER REFERENCES trials (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX artefacts_of_run ON artefacts (run);
"""

# A mark tells runs of different machines apart.
_SECOND = """
ALTER TABLE runs ADD COLUMN mark TEXT;
UPDATE runs SET mark = lower(hex(randomblob(16)));
CREATE UNIQUE INDEX runs_by_mark ON runs (mark);
"""

# What a test suite last found, by scenario.
_THIRD = """
CREATE TABLE tests (
    scenario TEXT NOT NULL,
    test TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    finished REAL NOT NULL,
    PRIMARY KEY (scenario, test)
);
"""

STEPS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD)
VERSION = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of an open store; 0 for an empty file."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    if known is None:
        return 0
    row = connection.execute("SELECT max(version) FROM migrations").fetchone()
    return int(row[0] or 0)


def migrate(connection: sqlite3.Connection, now: float) -> None:
    """Apply the steps that are missing; the connection is in autocommit mode and the caller holds the lock."""
    present = version_of(connection)
    if present >= VERSION:
        return
    script = ["BEGIN IMMEDIATE;", "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied REAL);"]
    for number, step in enumerate(STEPS[present:], start=present + 1):
        script += [step, f"INSERT INTO migrations VALUES ({number}, {float(now)!r});"]
    connection.executescript("\n".join([*script, "COMMIT;"]))
