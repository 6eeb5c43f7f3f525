"""Good programs: blackstart says nothing, with exit status 0. Silence here is the product."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, run
from tests.twins.making import compiled

pytestmark = pytest.mark.live
KINDS = ("--only", "errno,kill")
EXAMPLES = Path(__file__).parents[3] / "examples" / "notes"


def silent(command: list[str], directory: Path, *options: str) -> None:
    ran = run(command, directory, *(options or KINDS))
    assert not ran.defects, ran.said()
    assert ran.status == 0, ran.said()
    passed = sum(counts["passed"] for counts in ran.report["trials"]["kinds"])
    assert passed * 2 > ran.report["trials"]["total"] > 0, f"most trials were inconclusive: {ran.said()}"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_with_full_synchronisation(mode: str, work: Path) -> None:
    first = f"PRAGMA journal_mode={mode}; CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT);"
    rows = "INSERT INTO notes(text) VALUES ('one'), ('two'), ('three');"
    subprocess.run(["sqlite3", "notes.db", first + rows], cwd=work, check=True, capture_output=True)
    add = "PRAGMA synchronous=FULL; INSERT INTO notes(text) VALUES ('buy milk'); SELECT count(*) FROM notes;"
    silent(["sqlite3", "-bail", "notes.db", add], work)


def python_writer(work: Path) -> list[str]:
    (work / "thermostat.json").write_text(json.dumps({"target": 20, "changes": 3, "sum": 23}))
    return [PYTHON, str(TARGETS / "careful_writer.py")]


def c_writer(work: Path) -> list[str]:
    (work / "thermostat.conf").write_text("target = 20\ncheck = 143\n")
    return [str(compiled(TARGETS / "careful_writer.c"))]


def go_writer(work: Path) -> list[str]:
    (work / "thermostat.json").write_text('{"target":20,"check":143}\n')
    return [str(compiled(TARGETS / "careful_writer.go"))]


@pytest.mark.parametrize(
    "prepare",
    [
        python_writer,
        pytest.param(c_writer, marks=pytest.mark.needs("gcc")),
        pytest.param(go_writer, marks=pytest.mark.needs("go")),
    ],
)
@pytest.mark.parametrize("kinds", ["errno,kill", "file"])
def test_a_careful_writer(prepare: Callable[[Path], list[str]], kinds: str, work: Path) -> None:
    silent(prepare(work), work, "--only", kinds)


def test_a_careful_writer_through_a_library(work: Path) -> None:
    pytest.importorskip("tinydb")
    kept = {str(number): {"text": f"note number {number} of the week"} for number in range(1, 6)}
    (work / "notes.json").write_text(json.dumps({"_default": kept}))
    silent([PYTHON, str(EXAMPLES / "careful_notes.py"), "add", "buy milk"], work, "--only", "errno,kill,file")


def test_sort_into_another_file(work: Path) -> None:
    (work / "words.txt").write_text("".join(f"word {number * 7919 % 1000}\n" for number in range(200)))
    silent(["sort", "-o", "sorted.txt", "words.txt"], work)


def test_an_archive_of_a_directory(work: Path) -> None:
    """Its bytes tell in which order the directory was listed."""
    (work / "letters").mkdir()
    for name in "hgfedcba":
        (work / "letters" / name).write_text(f"letter {name}\n" * 20)
    silent(["tar", "-cf", "letters.tar", "letters"], work, "--only", "errno", "--trials", "30")


def test_a_tool_that_compares_times_sees_the_good_file_put_back(work: Path) -> None:
    """What it makes of a damaged source is newer than the good one was, and stops it."""
    (work / "source").write_text("a good word\n" * 9)
    (work / "part").write_text("older\n")
    os.utime(work / "part", (1, 1))
    part = "[ source -nt part ] && { cp source part.new; mv part.new part; }"
    product = 'grep -q "a good word" part || { echo "part is damaged" >&2; exit 1; }; echo made'
    silent(["bash", "-c", f"{part}; {product}"], work, "--only", "file")


def test_a_program_that_only_reads(work: Path) -> None:
    (work / "stock.csv").write_text("name,pieces\nnail,40\nscrew,2\n")
    silent([PYTHON, str(TARGETS / "reading" / "stock.py")], work, "--only", "errno")


def test_a_program_whose_modules_are_compiled_on_the_way(work: Path) -> None:
    for module in (TARGETS / "reading").glob("*.py"):
        shutil.copy(module, work)
    (work / "stock.csv").write_text("name,pieces\nnail,40\nscrew,2\n")
    silent([PYTHON, "stock.py"], work, "--only", "errno", "--env", "PYTHONDONTWRITEBYTECODE=")


def test_a_program_that_writes_only_logs_and_caches(work: Path) -> None:
    (work / "text.txt").write_text("some words that are counted\n" * 20)
    silent([PYTHON, str(TARGETS / "logs_and_caches.py")], work)
