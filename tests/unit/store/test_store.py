"""What is kept is found again, by whoever asks, and trouble with the file is told in the operator's words."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from blackstart.core.clock import ManualClock
from blackstart.core.errors import BlackstartError
from blackstart.store import DIRECTORY, Store, migrations
from blackstart.store.database import FILE


def finding(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "fingerprint": "1:aa", "severity": "critical", "consequence": "lost", **more}


def report(*findings: dict[str, object]) -> bytes:
    return msgspec.json.encode({"schema": "blackstart-report/1", "findings": findings})


def test_a_run_with_its_trials_is_read_back(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    with Store(str(tmp_path), clock=clock) as store:
        number = store.begin_run(("prog", "caf\udce9", ""), 7, cwd="/a/\udcff", version="0.1", options=b'{"x":1}')
        trial = store.plan_trial(number, "kill", b"plan")
        assert [(t.id, t.outcome, t.history) for t in store.trials(number)] == [(trial, None, None)]
        clock.sleep(2.0)
        store.finish_trial(trial, "failed", b"history" * 100, b"verdicts")
        store.finish_run(number, report(finding("a1b2")))
    with Store(str(tmp_path), create=False) as store:
        run = store.last_run()
        assert run is not None and run == store.run(number)
        assert (run.command, run.cwd, run.seed) == (("prog", "caf\udce9", ""), "/a/\udcff", 7)
        assert (run.started, run.finished, run.trials, run.findings) == (1000.0, 1002.0, 1, 1)
        assert run.report == report(finding("a1b2")) and run.options == b'{"x":1}'
        [kept] = store.trials(number)
        assert (kept.plan, kept.outcome, kept.history, kept.verdicts) == (
            b"plan",
            "failed",
            b"history" * 100,
            b"verdicts",
        )


def test_a_plan_is_on_disk_before_its_trial_ends(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        number = store.begin_run(("x",), 0)
        store.plan_trial(number, "errno", b"written first")
        other = sqlite3.connect(tmp_path / DIRECTORY / FILE)
        assert other.execute("SELECT plan, outcome FROM trials").fetchall() == [(b"written first", None)]
        other.close()


def test_a_finding_is_found_by_id_and_by_its_only_prefix_newest_run_first(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        for count in (1, 2):
            number = store.begin_run(("x",), 0)
            store.finish_run(number, report(finding("abcd", trials=count), finding("abce"), finding("ffff")))
        assert msgspec.json.decode(store.finding("abcd").data)["trials"] == 2
        assert store.finding("f").id == "ffff" and store.finding("abcd").run == number
        with pytest.raises(BlackstartError, match="several findings begin with 'ab'") as error:
            store.finding("ab")
        assert error.value.next_step == "say which: abcd, abce"
        with pytest.raises(BlackstartError, match="no finding 'x%'") as error:
            store.finding("x%")
        assert "known here: " in error.value.next_step
        with pytest.raises(BlackstartError) as error:
            store.finding("abcx")
        assert error.value.next_step in ("did you mean 'abcd'?", "did you mean 'abce'?")
        with pytest.raises(BlackstartError):
            store.finding("")


def test_an_exact_id_wins_over_longer_ones_that_begin_so(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        store.finish_run(store.begin_run(("x",), 0), report(finding("ab"), finding("abc")))
        assert store.finding("ab").id == "ab"


def test_a_finding_told_at_once_outlives_a_run_that_never_ends(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        number = store.begin_run(("x",), 0)
        store.add_finding(number, msgspec.json.encode(finding("abcd")))
    with Store(str(tmp_path)) as store:
        assert store.finding("abcd").run == number
        run = store.last_run()
        assert run is not None and run.finished is None and run.report is None
        store.finish_run(number, report(finding("abcd", advice="x")))
        assert [msgspec.json.decode(f.data)["advice"] for f in store.findings(number)] == ["x"]


def test_the_folder_is_private_and_not_seen_by_version_control(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    assert stat.S_IMODE((tmp_path / DIRECTORY).stat().st_mode) == 0o700
    assert (tmp_path / DIRECTORY / ".gitignore").read_text() == "*\n"


def test_without_create_a_missing_store_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(BlackstartError, match="nothing is kept here yet") as error:
        Store(str(tmp_path), create=False)
    assert "blackstart run" in error.value.next_step
    assert not (tmp_path / DIRECTORY).exists()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    other = sqlite3.connect(tmp_path / DIRECTORY / FILE)
    other.execute("INSERT INTO migrations VALUES (99, 0)")
    other.commit()
    other.close()
    with pytest.raises(BlackstartError, match="newer blackstart \\(schema 99") as error:
        Store(str(tmp_path))
    assert "upgrade" in error.value.next_step


def test_an_old_store_gets_the_steps_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(str(tmp_path)) as store:
        number = store.begin_run(("kept",), 0)
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, "ALTER TABLE runs ADD COLUMN host TEXT;"))
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    with Store(str(tmp_path)) as store:
        assert store.run(number).command == ("kept",)
    other = sqlite3.connect(tmp_path / DIRECTORY / FILE)
    assert other.execute("SELECT host FROM runs").fetchall() == [(None,)]
    other.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_told_with_the_next_step(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DIRECTORY).mkdir()
    (tmp_path / DIRECTORY / FILE).write_bytes(content)
    with pytest.raises(BlackstartError, match="damaged") as error:
        Store(str(tmp_path))
    assert "move" in error.value.next_step and str(tmp_path) in error.value.where


def test_a_name_that_is_taken_is_told(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).write_text("")
    with pytest.raises(BlackstartError, match="not a directory"):
        Store(str(tmp_path))
    (tmp_path / DIRECTORY).unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / DIRECTORY).symlink_to("elsewhere")
    with pytest.raises(BlackstartError, match="not a directory"):
        Store(str(tmp_path))


def test_a_directory_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(BlackstartError, match="results cannot be kept here") as error:
        Store("/proc")
    assert "directory that you may write to" in error.value.next_step


def test_a_locked_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blackstart.store.database.BUSY_S", 0.05)
    with Store(str(tmp_path)) as store:
        other = sqlite3.connect(tmp_path / DIRECTORY / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BlackstartError, match="locked"):
            store.begin_run(("x",), 0)
        other.close()


def test_our_own_mistake_is_an_assertion_not_the_operators(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        with pytest.raises(AssertionError):
            store.plan_trial(999, "kill", b"")
        with pytest.raises(AssertionError):
            store.finish_trial(999, "passed", b"", b"")


WRITER = """
import sys
from blackstart.store import Store
with Store(sys.argv[1]) as store:
    number = store.begin_run((sys.argv[2],), 0)
    for _ in range(50):
        store.finish_trial(store.plan_trial(number, "kill", b"p"), "passed", b"h" * 1000, b"v")
    store.finish_run(number, b'{"findings": []}')
"""


def test_two_first_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "abc"]
    assert [child.wait(300) for child in children] == [0, 0, 0]
    with Store(str(tmp_path)) as store:
        runs = store.runs()
        assert sorted(run.command[0] for run in runs) == ["a", "b", "c"]
        assert [run.trials for run in runs] == [50, 50, 50]


def test_the_size_is_bounded_and_failures_are_kept_longest(tmp_path: Path) -> None:
    with Store(str(tmp_path), limit_bytes=1_000_000) as store:
        number = store.begin_run(("x",), 0)
        for index in range(120):
            outcome = "failed" if index % 10 == 0 else "passed"
            store.finish_trial(store.plan_trial(number, "kill", b"plan"), outcome, os.urandom(20_000), b"v")
        store.prune()
        assert store.used_bytes() <= 1_000_000
        kept = list(store.trials(number))
        assert all(t.plan == b"plan" for t in kept) and any(t.history is None for t in kept)
        assert all(t.history for t in kept if t.outcome == "failed")


def test_old_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blackstart.store.store.RUNS_MAX", 3)
    with Store(str(tmp_path)) as store:
        numbers = [store.begin_run((str(index),), 0) for index in range(5)]
        assert [run.id for run in store.runs()] == numbers[:1:-1]
        with pytest.raises(BlackstartError, match="no run 1"):
            store.run(1)
