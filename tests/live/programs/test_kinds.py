"""Twins of the kinds disk, limit and kill-one: a bad program and a good one, a few lines apart; then good ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, TARGETS, replay, run

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# A parent with one child that writes its part; the bad one does not ask how the child ended.
PARENT = """
import os, sys
def part():
    with open("part", "w") as file:
        file.write("whole")
    os._exit(0)
child = os.fork()
if not child:
    part()
status = os.waitpid(child, 0)[1]
{asks}
with open("done", "w") as file:
    file.write("yes")
"""
DEAF = {"asks": ""}
CAREFUL = {"asks": "if status:\n    sys.exit('the child did not finish its part')"}

# Writes three pages; the bad one takes the system's word for nothing.
PAGES = """
import os, sys
out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
try:
    for _ in range(3):
        data = b"x" * 4095 + b"\\n"
        while data:
            data = data[os.write(out, data):]
except OSError as error:
    {tells}
"""
MUTE = {"tells": "pass"}
HONEST = {"tells": "sys.exit(f'cannot write: {error}')"}


def program(directory: Path, text: str, words: dict[str, str]) -> list[str]:
    for place, word in words.items():
        text = text.replace("{" + place + "}", word)
    (directory / "program.py").write_text(text)
    return [PYTHON, "program.py"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    ("kind", "text", "bad", "good"),
    [
        ("kill-one", PARENT, DEAF, CAREFUL),
        ("disk", PAGES, MUTE, HONEST),
        ("limit", PAGES, MUTE, HONEST),
    ],
)
def test_the_bad_twin_is_silent_about_it_and_the_good_one_is_not(
    kind: str, text: str, bad: dict[str, str], good: dict[str, str], work: Path
) -> None:
    """covers: R-17 M-13 M-19"""
    found = run(program(work, text, bad), work, "--only", kind, "--trials", "6")
    assert {finding["consequence"] for finding in found.defects} == {"silent"}, found.said()
    status, said = replay(found, found.defects[0], work)
    assert status == 1, said
    kept = run(program(work, text, good), work, "--only", kind, "--trials", "6")
    assert not kept.defects, kept.said()
    assert sum(counts["passed"] for counts in kept.report["trials"]["kinds"]) > 0, kept.said()


def test_nothing_is_said_of_a_careful_writer(work: Path) -> None:
    (work / "thermostat.json").write_text('{"target": 20, "changes": 0, "sum": 20}')
    kept = run([PYTHON, str(TARGETS / "careful_writer.py")], work, "--only", "disk,limit")
    assert not kept.defects, kept.said()


@pytest.mark.needs("sqlite3")
def test_nothing_is_said_of_a_database(work: Path) -> None:
    rows = "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (1), (hex(randomblob(9000))); SELECT count(*) FROM t;"
    kept = run(["sqlite3", "data.db", rows], work, "--only", "disk,limit")
    assert not kept.defects, kept.said()
