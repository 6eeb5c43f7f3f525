"""The job store of the dosing controller: a real SQLite file, damaged, locked or forbidden.

covers: R-2, R-4, R-5, R-6, R-7, R-8, R-9, R-10, R-11
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

import pytest

from tests.live.dosing.rig import Rig, until

pytestmark = pytest.mark.live


def jobs(rig: Rig) -> list[str]:
    with closing(sqlite3.connect(rig.database)) as connection:
        return [name for (name,) in connection.execute("SELECT id FROM apscheduler_jobs")]


def assert_works(rig: Rig) -> Any:
    """It starts, has its job, and doses."""
    controller = rig.started()
    assert controller.scheduler.get_job("cycle") is not None, "there is no job"
    until(lambda: rig.dosed() == 1, "the dose")
    return controller


def assert_fresh(rig: Rig) -> None:
    """It works, and its jobs are in a whole database again."""
    assert_works(rig).stop()
    assert jobs(rig) == ["cycle"]


def assert_kept(rig: Rig, damaged: bytes) -> None:
    """Whoever wants to know what happened can look at the file."""
    assert damaged in [path.read_bytes() for path in rig.directory.iterdir()], "the damaged file is gone"


@pytest.mark.resilience(scenario="R-4")
def test_resilience_database_header_lost(rig: Rig, sqlite: Any, record_property: Any) -> None:
    rig.run_once()
    with sqlite.header_lost(rig.database):
        damaged = rig.database.read_bytes()
        assert_fresh(rig)
        assert_kept(rig, damaged)
    record_property("outcome", "recreated")


@pytest.mark.resilience(scenario="R-5")
def test_resilience_database_missing(rig: Rig, sqlite: Any) -> None:
    rig.run_once()
    with sqlite.missing(rig.database):
        assert_fresh(rig)


@pytest.mark.resilience(scenario="R-6")
def test_resilience_database_locked_for_a_moment(rig: Rig, sqlite: Any, record_property: Any) -> None:
    rig.run_once()
    rig.conf.write_text(rig.conf.read_text().replace("lock_timeout_s = 0.2", "lock_timeout_s = 20"))
    with closing(sqlite3.connect(rig.database)) as connection, connection:
        connection.execute("DELETE FROM apscheduler_jobs")
    with sqlite.locked(rig.database, for_s=2):
        assert_works(rig).stop()
    assert jobs(rig) == ["cycle"]
    record_property("outcome", "waited for the lock")


@pytest.mark.resilience(scenario="R-6")
def test_resilience_database_locked_for_good(rig: Rig, sqlite: Any, record_property: Any) -> None:
    rig.run_once()
    with sqlite.locked(rig.database):
        assert_works(rig)
    record_property("outcome", "fell back to memory")


@pytest.mark.parametrize("lost", ["half", "end"])
@pytest.mark.resilience(scenario="R-7")
def test_resilience_database_truncated(rig: Rig, sqlite: Any, lost: str) -> None:
    rig.run_once()
    # Without the end of its last page a database has all its pages, and only a look at the whole of it finds the hole.
    with sqlite.truncated(rig.database, rig.database.stat().st_size - 100 if lost == "end" else None):
        damaged = rig.database.read_bytes()
        assert_fresh(rig)
        assert_kept(rig, damaged)


@pytest.mark.resilience(scenario="R-8")
def test_resilience_database_read_only(rig: Rig, sqlite: Any, record_property: Any) -> None:
    rig.run_once()
    with sqlite.read_only(rig.database):
        assert_works(rig).stop()
    record_property("outcome", "memory only")


@pytest.mark.resilience(scenario="R-9")
def test_resilience_database_rapid_restarts(rig: Rig) -> None:
    for _ in range(3):
        before = rig.box.reads
        with subprocess.Popen(rig.command(), stderr=subprocess.DEVNULL) as program:
            try:
                until(lambda before=before: rig.box.reads > before, "the first cycle")
            finally:
                program.send_signal(signal.SIGKILL)
    assert jobs(rig) == ["cycle"]


@pytest.mark.resilience(scenario="R-9")
def test_resilience_database_rapid_restarts_overdose(rig: Rig) -> None:
    rig.conf.write_text(rig.conf.read_text().replace("dose_s = 0.01", "dose_s = 30").replace("0.025", "35"))
    with subprocess.Popen(rig.command(), stderr=subprocess.DEVNULL) as program:
        try:
            until(lambda: rig.box.relays[0], "the dose")
        finally:
            program.send_signal(signal.SIGKILL)
    assert rig.ran() == 30, "killed while the pump runs, it gives the dose again"


@pytest.mark.resilience(scenario="R-10")
def test_resilience_database_empty(rig: Rig, sqlite: Any) -> None:
    rig.run_once()
    with sqlite.empty(rig.database):
        assert_fresh(rig)


@pytest.mark.resilience(scenario="R-11")
def test_resilience_database_garbage(rig: Rig, sqlite: Any) -> None:
    rig.run_once()
    with sqlite.garbage(rig.database):
        damaged = rig.database.read_bytes()
        assert_fresh(rig)
        assert_kept(rig, damaged)
