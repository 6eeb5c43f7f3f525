"""Runs of several machines in one store: whole, once, whatever state the other store is in."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from blackstart.core.errors import BlackstartError
from blackstart.store import DIRECTORY, KeptTest, Merged, Store, merge_into
from blackstart.store.database import FILE

from .test_store import finding, report


def filled(directory: Path, *names: str, trials: int = 2) -> Path:
    """A store with one run for each name."""
    directory.mkdir(exist_ok=True)
    with Store(str(directory)) as store:
        for name in names:
            run = store.begin_run((name,), 1)
            for number in range(trials):
                trial = store.plan_trial(run, "kill", f"{name}{number}".encode())
                store.finish_trial(trial, "failed", f"history {name}{number}".encode(), b"verdicts")
            value = msgspec.json.decode(report(finding(f"lost-{name}")))
            store.finish_run(run, msgspec.json.encode({**value, "run": str(run), "change": {"against": "9"}}))
    return directory


def test_runs_come_over_whole_and_only_once(tmp_path: Path) -> None:
    here, there = filled(tmp_path / "here", "a", "b"), filled(tmp_path / "there", "c", "d", trials=3)
    with Store(str(here)) as store:
        assert merge_into(store, str(there)) == Merged(copied=2)
        assert merge_into(store, str(there / DIRECTORY)) == Merged(present=2)
        runs = store.runs()
        assert [(run.command[0], run.trials, run.findings) for run in runs] == [
            ("d", 3, 1), ("c", 3, 1), ("b", 2, 1), ("a", 2, 1),
        ]  # fmt: skip
        kept = store.run(runs[0].id)
        assert kept.report is not None
        value = msgspec.json.decode(kept.report)
        assert value["run"] == str(kept.id) and "change" not in value, "numbers of the other store mean nothing here"
        assert [(trial.plan, trial.history) for trial in store.trials(kept.id)] == [
            (b"d%d" % number, b"history d%d" % number) for number in range(3)
        ]
        assert store.finding("lost-c").run == runs[1].id
        fresh = store.plan_trial(store.begin_run(("e",), 1), "kill", b"")
        assert fresh not in {trial.id for run in runs for trial in store.trials(run.id)}
    with Store(str(there)) as store:
        assert [run.command[0] for run in store.runs()] == ["d", "c"], "the other store is only read"
        assert merge_into(store, str(here)) == Merged(copied=2, present=2, running=1)


def test_a_store_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    here, there = filled(tmp_path / "here"), filled(tmp_path / "there", "c")
    os.chmod(there / DIRECTORY / FILE, 0o400)
    os.chmod(there / DIRECTORY, 0o500)
    try:
        with Store(str(here)) as store:
            assert merge_into(store, str(there)) == Merged(copied=1)
    finally:
        os.chmod(there / DIRECTORY, 0o700)


def test_a_store_in_use_is_read_as_it_stands(tmp_path: Path) -> None:
    here, there = filled(tmp_path / "here"), filled(tmp_path / "there", "c")
    with Store(str(there)) as busy, Store(str(here)) as store:
        busy.plan_trial(busy.begin_run(("running",), 1), "kill", b"")
        assert merge_into(store, str(there)) == Merged(copied=1, running=1)


def test_an_older_store_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    here, there = filled(tmp_path / "here"), filled(tmp_path / "there", "c")
    old = sqlite3.connect(there / DIRECTORY / FILE)
    old.executescript(
        "DROP TABLE tests; DROP INDEX runs_by_mark; ALTER TABLE runs DROP COLUMN mark; "
        "DELETE FROM migrations WHERE version > 1;"
    )
    old.close()
    with Store(str(here)) as store:
        assert merge_into(store, str(there)).copied == 1
    again = sqlite3.connect(there / DIRECTORY / FILE)
    assert again.execute("SELECT max(version) FROM migrations").fetchone() == (1,)
    again.close()


@pytest.mark.parametrize("trouble", ["missing", "itself", "damaged", "newer"])
def test_trouble_with_the_other_store_is_told_and_changes_nothing(tmp_path: Path, trouble: str) -> None:
    here, there = filled(tmp_path / "here", "a"), filled(tmp_path / "there", "c")
    file = there / DIRECTORY / FILE
    if trouble == "damaged":
        file.write_bytes(b"no database" * 1000)
    elif trouble == "newer":
        other = sqlite3.connect(file)
        with other:
            other.execute("INSERT INTO migrations VALUES (99, 0)")
        other.close()
    place = {"missing": tmp_path, "itself": here}.get(trouble, there)
    with Store(str(here)) as store:
        with pytest.raises(BlackstartError) as error:
            merge_into(store, str(place))
        assert error.value.next_step and str(place) in error.value.where, error.value
        assert "/tmp/blackstart-merge" not in str(error.value)
        assert [run.command[0] for run in store.runs()] == ["a"]
        store.begin_run(("still works",), 1)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from blackstart.store import Store\n"
        "with Store(sys.argv[1]) as store:\n"
        "    run = store.begin_run((sys.argv[2],), 1)\n"
        "    for n in range(50):\n"
        "        store.finish_trial(store.plan_trial(run, 'kill', b''), 'passed', b'h', b'v')\n"
        "    store.finish_run(run, b'{}')\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"]
    assert [one.wait(300) for one in both] == [0, 0]
    with Store(str(tmp_path), create=False) as store:
        assert sorted((run.command[0], run.trials) for run in store.runs()) == [("a", 50), ("b", 50)]
        assert all(run.finished for run in store.runs())


def test_what_test_suites_found_comes_over_and_the_latest_counts(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory, outcome in ((there, "gap"), (here, "survived")):
        directory.mkdir()
        with Store(str(directory)) as store:
            store.keep_tests([KeptTest(scenario="R-4", test="both", outcome=outcome)])
            store.keep_tests([KeptTest(scenario="R-4", test=directory.name, outcome=outcome)])
    with Store(str(here)) as store:
        merge_into(store, str(there))
        assert [(one.test, one.outcome) for one in store.tests()] == [
            ("both", "survived"), ("here", "survived"), ("there", "gap"),
        ]  # fmt: skip
    with Store(str(there)) as store:
        merge_into(store, str(here))
        assert {one.test: one.outcome for one in store.tests()}["both"] == "survived"
