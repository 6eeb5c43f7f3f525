"""A skip is a failure in continuous integration unless it is listed with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
SAMPLE = """
import pytest

def test_one():
    pytest.skip("needs a green moon")

@pytest.mark.needs("no-such-command-anywhere")
def test_two():
    pass

def test_three():
    pass
"""
INI = "[pytest]\naddopts = --import-mode=importlib\nmarkers = needs(tool, ...): a command\n"


def run(folder: Path, allowed: str, ci: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A session of its own in a folder with one sample and this project's conftest."""
    tests = folder / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(CONFTEST.read_text())
    (tests / "allowed_skips.txt").write_text(allowed)
    (tests / "test_sample.py").write_text(SAMPLE)
    (folder / "pytest.ini").write_text(INI)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CI"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "tests"],
        cwd=folder,
        env=environment | {"CI": ci},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_an_unlisted_skip_fails_the_session_and_is_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, "always: needs a green* -- there is none\n", "true", *options)
    assert done.returncode == 1
    assert "test_two: needs no-such-command-anywhere (not installed)" in done.stdout
    assert "test_one: needs" not in done.stdout


def test_listed_skips_pass(tmp_path: Path) -> None:
    listed = "always: needs a green* -- there is none\nalways: needs * (not installed) -- none either\n"
    assert run(tmp_path, listed, "true").returncode == 0


def test_at_home_a_skip_is_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path, "", "").returncode == 0


def test_a_line_without_its_reason_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "always: needs *\n", "true")
    assert done.returncode != 0
    assert "line 1 of allowed skips" in done.stdout + done.stderr


def test_without_a_guest_its_tests_skip_for_the_reason_that_is_listed_whatever_else_is_missing(tmp_path: Path) -> None:
    project = CONFTEST.parents[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "BLACKSTART_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "tests/machines"]
    environment |= {"CI": "true", "PATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    reasons = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert done.returncode == 0, done.stdout
    assert {reason.split(" (")[0] for reason in reasons} == {"needs BLACKSTART_GUEST_KERNEL"}
