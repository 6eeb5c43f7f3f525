"""A pinned finding and a bisection, by tools that people have: red on the bad program, green on the repaired one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
BLACKSTART = [sys.executable, "-m", "blackstart"]
BAD = """
import json, os
kept = json.load(open("notes.json")) if os.path.exists("notes.json") else []
with open("notes.json", "w") as file:
    json.dump(kept + ["note"], file)
"""
GOOD = """
import json, os
kept = json.load(open("notes.json")) if os.path.exists("notes.json") else []
with open("notes.tmp", "w") as file:
    json.dump(kept + ["note"], file)
    file.flush()
    os.fsync(file.fileno())
os.replace("notes.tmp", "notes.json")
"""


def run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "PATH": path, **environment},
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project whose program loses its notes when it is killed, its report, and the finding's id."""
    place = tmp_path_factory.mktemp("project")
    (place / "notes.py").write_text(BAD)
    words = ["--only", "kill", "--trials", "12", "--seed", "1", "--json", "report.json"]
    done = run([*BLACKSTART, "run", *words, "--", sys.executable, "notes.py"], place)
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if "replay" in line and "report.json#" in line][:1]
    return place, line.partition("#")[2].strip("'\" ")


def test_a_pytest_pin_is_red_until_the_program_is_repaired(found: tuple[Path, str], tmp_path: Path) -> None:
    place, finding = found
    project = tmp_path / "clone"
    shutil.copytree(place, project, ignore=shutil.ignore_patterns(".blackstart"))
    (project / "tests").mkdir()
    done = run([*BLACKSTART, "pin", f"report.json#{finding}", "tests"], project)
    assert done.returncode == 0, done.stderr
    [test] = (project / "tests").glob("test_resilience_*.py")
    assert len([line for line in test.read_text().splitlines() if line.strip()]) <= 14
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    red = run(suite, project)
    assert red.returncode == 1 and "It still fails." in red.stdout, red.stdout + red.stderr
    (project / "notes.py").write_text(GOOD)
    green = run(suite, project)
    assert green.returncode == 0, green.stdout + green.stderr


@pytest.mark.needs("go")
def test_a_go_pin_is_red_until_the_program_is_repaired(found: tuple[Path, str], tmp_path: Path) -> None:
    place, finding = found
    project = tmp_path / "clone"
    shutil.copytree(place, project, ignore=shutil.ignore_patterns(".blackstart"))
    (project / "go.mod").write_text("module example.test/notes\n\ngo 1.19\n")
    (project / "notes.go").write_text("package notes\n")
    done = run([*BLACKSTART, "pin", f"report.json#{finding}", "--language", "go"], project)
    assert done.returncode == 0, done.stderr
    suite = ["go", "test", "-run", "TestResilience_", "-count=1", "./..."]
    red = run(suite, project)
    assert red.returncode == 1 and "It still fails." in red.stdout, red.stdout + red.stderr
    assert run(["go", "vet", "./..."], project).returncode == 0
    (project / "notes.py").write_text(GOOD)
    green = run(suite, project)
    assert green.returncode == 0 and "ok" in green.stdout, green.stdout + green.stderr


@pytest.mark.needs("git")
def test_git_finds_the_commit_that_broke_it(found: tuple[Path, str], tmp_path: Path) -> None:
    place, finding = found
    project = tmp_path / "history"
    project.mkdir()
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.test"]
    run([*git, "init", "-q"], project)
    # The third does not even start: it can say nothing, and is skipped.
    for number, text in enumerate([GOOD, GOOD + "# 1\n", "raise SystemExit(3)\n", BAD, BAD + "# 2\n"]):
        (project / "notes.py").write_text(text)
        run([*git, "add", "notes.py"], project)
        assert run([*git, "commit", "-qm", f"change {number}"], project).returncode == 0
    shutil.copy(place / "report.json", tmp_path / "report.json")
    run([*git, "bisect", "start", "HEAD", "HEAD~4"], project)
    replay = [*BLACKSTART, "replay", f"{tmp_path / 'report.json'}#{finding}", "--bisect"]
    done = run([*git, "bisect", "run", *replay], project)
    said = done.stdout + done.stderr
    # Between the good one and the bad one lies only what could not be tried: git names both.
    assert "change 3" in said or "only 'skip'ped commits left" in said, said
    assert run([*git, "log", "--format=%s", "-1", "refs/bisect/bad"], project).stdout.strip() == "change 3", said
