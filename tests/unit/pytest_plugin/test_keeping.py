"""What tests of scenarios found is kept and shown by `blackstart report`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from blackstart.store import Store

SUITE = """
import pytest

@pytest.mark.resilience(scenario="IF-3")
def test_survives():
    pass

@pytest.mark.resilience(scenario="R-18", gap="not atomic")
@pytest.mark.parametrize("at", [1, 2])
def test_gap(at):
    assert not at

@pytest.mark.resilience(scenario="R-4")
def test_fails():
    raise ValueError("the store is gone")

@pytest.mark.resilience
def test_names_none():
    pass

def test_of_others():
    pass
"""


def session(tmp_path: Path, *options: str, suite: str = SUITE) -> str:
    (tmp_path / "test_it.py").write_text(suite)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=500, check=False)
    return done.stdout.decode("utf-8", "replace")


def report(tmp_path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "blackstart", "report", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=True)
    return done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2"), ("--tb=short",), ("--tb=no",)])
def test_what_was_found_is_kept_once_and_shown(tmp_path: Path, workers: tuple[str, ...]) -> None:
    session(tmp_path, *workers)
    with Store(str(tmp_path), create=False) as store:
        kept = {(one.scenario, one.test, one.outcome, one.reason) for one in store.tests()}
    assert kept == {
        ("IF-3", "test_it.py::test_survives", "survived", ""),
        ("R-18", "test_it.py::test_gap[1]", "gap", "not atomic"),
        ("R-18", "test_it.py::test_gap[2]", "gap", "not atomic"),
        ("R-4", "test_it.py::test_fails", "failed", "ValueError: the store is gone"),
    }
    shown = report(tmp_path)
    assert "4 tests of 3 scenarios: 1 failed, 2 gap, 1 survived" in shown
    assert shown.index("R-4") < shown.index("R-18") < shown.index("IF-3")


def test_a_later_session_replaces_what_its_tests_found_and_forgets_files_that_are_gone(tmp_path: Path) -> None:
    session(tmp_path)
    (tmp_path / "test_it.py").rename(tmp_path / "test_old.py")
    session(tmp_path, "-k", "survives", suite=SUITE.replace("    pass", "    assert 0", 1))
    with Store(str(tmp_path), create=False) as store:
        found = {one.test: one.outcome for one in store.tests()}
    # test_old.py still stood there, and its test ran with the others of that name.
    assert found["test_it.py::test_survives"] == "failed"
    assert found["test_old.py::test_survives"] == "survived"
    assert found["test_it.py::test_fails"] == "failed", "not run again, so it is what it was"
    (tmp_path / "test_old.py").unlink()
    session(tmp_path, "-k", "survives")
    with Store(str(tmp_path), create=False) as store:
        assert not [one for one in store.tests() if one.test.startswith("test_old.py")]


def test_of_an_assertion_what_it_says_is_kept_and_not_what_pytest_adds_below(tmp_path: Path) -> None:
    suite = SUITE.replace(
        '    raise ValueError("the store is gone")', '    found = []\n    assert found == [1], "the save is not atomic"'
    )
    session(tmp_path, suite=suite)
    with Store(str(tmp_path), create=False) as store:
        found = {one.test: one.reason for one in store.tests()}
    assert found["test_it.py::test_fails"] == "AssertionError: the save is not atomic"


def test_a_renamed_test_is_forgotten_once_its_file_is_collected_as_a_whole(tmp_path: Path) -> None:
    session(tmp_path)
    renamed = SUITE.replace("test_survives", "test_lives")

    def kept() -> set[str]:
        with Store(str(tmp_path), create=False) as store:
            return {one.test.partition("::")[2] for one in store.tests()}

    session(tmp_path, "test_it.py::test_lives", suite=renamed)
    assert kept() == {"test_survives", "test_lives", "test_gap[1]", "test_gap[2]", "test_fails"}
    session(tmp_path, "-k", "lives", suite=renamed)
    assert kept() == {"test_lives", "test_gap[1]", "test_gap[2]", "test_fails"}, "deselected ones are still there"


@pytest.mark.parametrize("lines", ["raise OSError(5)", "yield; raise OSError(5)"])
def test_a_test_whose_fixture_fails_has_not_survived(tmp_path: Path, lines: str) -> None:
    session(tmp_path, "-k", "survives")
    fixture = f"\n@pytest.fixture(autouse=True)\ndef around():\n    {lines}\n"
    session(tmp_path, "-k", "survives", suite=SUITE.replace("import pytest\n", f"import pytest\n{fixture}"))
    with Store(str(tmp_path), create=False) as store:
        assert [(one.test, one.outcome, one.reason) for one in store.tests()] == [
            ("test_it.py::test_survives", "failed", "OSError: 5")
        ]


@pytest.mark.parametrize("workers", [(), ("-n", "2"), ("-n", "2", "--tb=line")])
def test_a_gap_that_survived_is_told_with_any_number_of_workers(tmp_path: Path, workers: tuple[str, ...]) -> None:
    session(tmp_path, *workers, suite=SUITE.replace("assert not at", "pass"))
    with Store(str(tmp_path), create=False) as store:
        kept = {one.test: one.reason for one in store.tests() if one.scenario == "R-18"}
    told = "[resilience] survives what was a gap (not atomic): take gap= out of the marker"
    assert kept == {"test_it.py::test_gap[1]": told, "test_it.py::test_gap[2]": told}


def test_a_session_without_scenarios_and_one_that_is_told_not_to_keep_nothing(tmp_path: Path) -> None:
    session(tmp_path, "-k", "names_none or others")
    session(tmp_path, "--blackstart-no-store")
    assert not (tmp_path / ".blackstart").exists()


def test_a_reason_with_a_name_that_is_no_text_is_kept_all_the_same(tmp_path: Path) -> None:
    session(tmp_path, suite=SUITE.replace('"the store is gone"', 'b"gone \\xff".decode(errors="surrogateescape")'))
    with Store(str(tmp_path), create=False) as store:
        assert "ValueError: gone \\udcff" in [one.reason for one in store.tests()]


def test_a_store_that_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / ".blackstart").write_text("in the way")
    assert "not kept: " in session(tmp_path, "-k", "survives")


def test_the_json_report_of_a_run_has_them(tmp_path: Path) -> None:
    from blackstart.report import json as form
    from blackstart.report.model import Report

    with Store(str(tmp_path)) as store:
        run = store.begin_run(["true"], 1, cwd=str(tmp_path))
        store.finish_run(run, form.encode(Report(command=("true",))))
    session(tmp_path, "-k", "survives")
    found = json.loads(report(tmp_path, "--json", "-"))["tests"]
    assert [(one["scenario"], one["outcome"]) for one in found] == [("IF-3", "survived")]
    assert "1 test of 1 scenario: 1 survived" in report(tmp_path)
