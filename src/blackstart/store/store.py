"""The results of all runs in one directory.

A trial's plan is written before the trial runs, so that what happened to blackstart itself can be told afterwards.
Several runs may write at once: each call is one short transaction. The size is bounded: histories of old trials go
first, those of failures last, plans and findings only with their whole run.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import msgspec

from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.errors import BlackstartError
from blackstart.core.verbs import near
from blackstart.store.database import FILE, create_folder, open_database, translated

DIRECTORY = ".blackstart"
RUNS_MAX = 200
LIMIT_BYTES = 256 * 1024 * 1024
_PRUNE_EVERY = 64


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it is kept; finished and report are None while it runs, or when it was killed."""

    id: int
    command: tuple[str, ...]
    cwd: str
    seed: int
    version: str
    options: bytes
    started: float
    finished: float | None = None
    report: bytes | None = None
    trials: int = 0
    findings: int = 0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial as it is kept; outcome is None while it runs; history and verdicts may have been dropped for space."""

    id: int
    run: int
    kind: str
    plan: bytes
    outcome: str | None = None
    history: bytes | None = None
    verdicts: bytes | None = None


class StoredFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding and the run that has it; data is its JSON as the report holds it."""

    id: str
    run: int
    data: bytes


class KeptTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of a scenario last found: survived, gap or failed; finished: seconds since 1970."""

    scenario: str
    test: str
    outcome: str
    reason: str = ""
    finished: float = 0.0


class Store:
    """`.blackstart/` below `directory`; a context manager. With create=False a missing store is an operator's error."""

    def __init__(
        self, directory: str, *, create: bool = True, clock: Clock = SYSTEM, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self.folder = os.path.join(os.path.abspath(directory), DIRECTORY)
        self.path = os.path.join(self.folder, FILE)
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._finished_trials = 0
        if create:
            create_folder(self.folder)
        elif not os.path.exists(self.path):
            raise BlackstartError(
                "nothing is kept here yet",
                where=self.folder,
                next_step="start with `blackstart run -- CMD`, or go to the directory where it was run",
            )
        self._connection = open_database(self.folder, clock.now())

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; done twice it does nothing."""
        with translated(self.path):
            self._connection.close()

    # Writing

    def begin_run(
        self, command: Sequence[str], seed: int, *, cwd: str = "", version: str = "", options: bytes = b"{}"
    ) -> int:
        """A new run; its number."""
        words = b"\0".join(os.fsencode(word) for word in command)
        row = (words, os.fsencode(cwd), seed, version, options, self._clock.now())
        columns = "command, cwd, seed, version, options, started, mark"
        sql = f"INSERT INTO runs ({columns}) VALUES (?, ?, ?, ?, ?, ?, lower(hex(randomblob(16))))"
        with translated(self.path):
            number = self._connection.execute(sql, row).lastrowid
            self._connection.execute("DELETE FROM runs WHERE id <= ?", ((number or 0) - RUNS_MAX,))
        assert number is not None
        return number

    def plan_trial(self, run_id: int, kind: str, plan: bytes) -> int:
        """Write down what is about to be done; the trial's number."""
        sql = "INSERT INTO trials (run, kind, plan, started) VALUES (?, ?, ?, ?)"
        with translated(self.path):
            number = self._connection.execute(sql, (run_id, kind, plan, self._clock.now())).lastrowid
        assert number is not None
        return number

    def finish_trial(self, trial_id: int, outcome: str, history: bytes, verdicts: bytes) -> None:
        """Write down what came of it."""
        row = (trial_id, outcome == "failed", zlib.compress(history, 1), verdicts)
        sql = "UPDATE trials SET outcome = ?, finished = ? WHERE id = ?"
        with translated(self.path), self._transaction():
            done = self._connection.execute(sql, (outcome, self._clock.now(), trial_id)).rowcount
            assert done == 1, f"no trial {trial_id}"
            self._connection.execute("INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?)", row)
        self._finished_trials += 1
        if self._finished_trials % _PRUNE_EVERY == 0:
            self.prune()

    def add_finding(self, run_id: int, data: bytes) -> None:
        """Keep one finding at once (a JSON object as in the report), so that our own end does not lose it."""
        with translated(self.path):
            self._put_findings(run_id, [msgspec.json.decode(data)])

    def keep_tests(self, found: Iterable[KeptTest]) -> None:
        """Keep what tests of scenarios found now, instead of what they found before."""
        now = self._clock.now()
        rows = [(one.scenario, one.test, one.outcome, one.reason, now) for one in found]
        columns = "scenario, test, outcome, reason, finished"
        with translated(self.path), self._transaction():
            self._connection.executemany(f"INSERT OR REPLACE INTO tests ({columns}) VALUES (?, ?, ?, ?, ?)", rows)

    def forget_tests(self, tests: Iterable[str]) -> None:
        """These tests are there no more."""
        with translated(self.path), self._transaction():
            self._connection.executemany("DELETE FROM tests WHERE test = ?", [(test,) for test in tests])

    def finish_run(self, run_id: int, report: bytes) -> None:
        """Keep the report (JSON) and its findings, in one transaction."""
        findings = msgspec.json.decode(report).get("findings", [])
        row = (self._clock.now(), zlib.compress(report, 6), run_id)
        with translated(self.path), self._transaction():
            done = self._connection.execute("UPDATE runs SET finished = ?, report = ? WHERE id = ?", row).rowcount
            assert done == 1, f"no run {run_id}"
            self._put_findings(run_id, findings)
        self.prune()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def joined(self, path: str) -> Iterator[sqlite3.Connection]:
        """This store in one transaction, with another of the same form beside it as `other`."""
        with translated(self.path):
            self._connection.execute("ATTACH ? AS other", (path,))
            try:
                with self._transaction():
                    yield self._connection
            finally:
                self._connection.execute("DETACH other")
        self.prune()

    def _put_findings(self, run_id: int, findings: list[dict[str, Any]]) -> None:
        columns = "id, run, fingerprint, severity, consequence, data"
        sql = f"INSERT OR REPLACE INTO findings ({columns}) VALUES (?, ?, ?, ?, ?, ?)"
        for found in findings:
            names = [str(found.get(key, "")) for key in ("fingerprint", "severity", "consequence")]
            self._connection.execute(sql, (found["id"], run_id, *names, msgspec.json.encode(found)))

    def prune(self) -> None:
        """Drop histories until the file holds no more than its limit: old ones first, those of failures last."""
        victims = "DELETE FROM histories WHERE trial IN (SELECT trial FROM histories ORDER BY failed, trial LIMIT 10)"
        with translated(self.path):
            if self.used_bytes() <= self._limit_bytes:
                return
            while self.used_bytes() > self._limit_bytes * 3 // 4:
                if self._connection.execute(victims).rowcount < 1:
                    break
            # As a script, because a cursor stops after the first page.
            self._connection.executescript("PRAGMA incremental_vacuum;")

    def used_bytes(self) -> int:
        """Bytes in use by the database, without free pages and the log."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    # Reading

    def runs(self) -> list[Run]:
        """All runs, newest first, without their reports."""
        return [self._run(row) for row in self._rows(_RUNS.format("NULL", "ORDER BY id DESC"))]

    def run(self, run_id: int) -> Run:
        """One run with its report."""
        rows = self._rows(_RUNS.format("report", "WHERE id = ?"), run_id)
        if not rows:
            known = [run.id for run in self.runs()[:5]]
            last = f"the last ones are {', '.join(map(str, known))}" if known else "there is none yet"
            raise BlackstartError(f"there is no run {run_id}", where=self.folder, next_step=last)
        return self._run(rows[0])

    def last_run(self) -> Run | None:
        """The newest run with its report; None when nothing was run yet."""
        rows = self._rows(_RUNS.format("report", "ORDER BY id DESC LIMIT 1"))
        return self._run(rows[0]) if rows else None

    def previous_report(self, run_id: int) -> bytes | None:
        """The report of the last finished run of the same command before this one."""
        sql = (
            "SELECT old.report FROM runs AS old, runs AS this WHERE this.id = ? AND old.id < this.id "
            "AND old.command = this.command AND old.report IS NOT NULL ORDER BY old.id DESC LIMIT 1"
        )
        rows = self._rows(sql, run_id)
        return zlib.decompress(rows[0][0]) if rows else None

    def trials(self, run_id: int) -> Iterator[Trial]:
        """The trials of a run in the order in which they were planned."""
        columns = "id, run, kind, plan, outcome, history, verdicts"
        tables = "trials LEFT JOIN histories ON trial = id"
        sql = f"SELECT {columns} FROM {tables} WHERE run = ? AND id > ? ORDER BY id LIMIT 1"
        last = 0
        while rows := self._rows(sql, run_id, last):
            row = rows[0]
            last = row[0]
            yield Trial(
                id=row[0],
                run=row[1],
                kind=row[2],
                plan=row[3],
                outcome=row[4],
                history=None if row[5] is None else zlib.decompress(row[5]),
                verdicts=row[6],
            )

    def findings(self, run_id: int) -> list[StoredFinding]:
        """The findings of a run."""
        sql = "SELECT id, run, data FROM findings WHERE run = ? ORDER BY rowid"
        return [StoredFinding(id=row[0], run=row[1], data=row[2]) for row in self._rows(sql, run_id)]

    def finding(self, id_or_prefix: str) -> StoredFinding:
        """The newest finding with this id, or the only id that begins so."""
        sql = "SELECT id, run, data FROM findings WHERE {} ORDER BY run DESC"
        rows = self._rows(sql.format("id = ?"), id_or_prefix)
        if not rows and id_or_prefix:
            rows = self._rows(sql.format("substr(id, 1, ?) = ?"), len(id_or_prefix), id_or_prefix)
        ids = sorted({row[0] for row in rows})
        if len(ids) > 1:
            several = ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
            raise BlackstartError(
                f"several findings begin with {id_or_prefix!r}", where=self.folder, next_step=f"say which: {several}"
            )
        if not rows:
            known = [row[0] for row in self._rows("SELECT DISTINCT id FROM findings ORDER BY run DESC")]
            step = near(id_or_prefix, known).removeprefix("; ")
            if not step:
                step = f"known here: {', '.join(known[:5])}" if known else "no run here has found anything"
            raise BlackstartError(f"no finding {id_or_prefix!r} is kept here", where=self.folder, next_step=step)
        return StoredFinding(id=rows[0][0], run=rows[0][1], data=rows[0][2])

    def tests(self) -> list[KeptTest]:
        """What tests of scenarios found, by scenario and test."""
        rows = self._rows("SELECT scenario, test, outcome, reason, finished FROM tests ORDER BY scenario, test")
        names = ("scenario", "test", "outcome", "reason", "finished")
        return [KeptTest(**dict(zip(names, row, strict=True))) for row in rows]

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def _run(self, row: Any) -> Run:
        return Run(
            id=row[0],
            command=tuple(os.fsdecode(word) for word in row[1].split(b"\0")),
            cwd=os.fsdecode(row[2]),
            seed=row[3],
            version=row[4],
            options=row[5],
            started=row[6],
            finished=row[7],
            report=None if row[8] is None else zlib.decompress(row[8]),
            trials=row[9],
            findings=row[10],
        )


_RUNS = (
    "SELECT id, command, cwd, seed, version, options, started, finished, {0}, "
    "(SELECT count(*) FROM trials WHERE run = runs.id), (SELECT count(*) FROM findings WHERE run = runs.id) "
    "FROM runs {1}"
)
