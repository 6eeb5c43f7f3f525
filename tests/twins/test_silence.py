"""Twins of what counts as a word: an answer with another value is none, a message is one, whatever the exit status."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.live.programs.running import Ran, run
from tests.twins.making import BOOK, PROGRAMS, book, command

pytestmark = [pytest.mark.live, pytest.mark.twins]
# A damaged book that is begun afresh; a damaged cache that is believed; a failure that only stderr tells.
PAIRS = [
    pytest.param("replaced_bad", "replaced_good", id="replaced"),
    pytest.param("answer_bad", "answer_good", id="answer"),
    pytest.param("silent_bad", "told_good", id="told"),
]


def broken(program: str, directory: Path, seed: int) -> Ran:
    directory.mkdir()
    (directory / BOOK).write_bytes(book(5))
    words = ("--only", "errno,kill,file", "--trials", "200")
    return run(command(PROGRAMS / f"{program}.py"), directory, *words, seed=seed)


@pytest.mark.parametrize(("bad", "good"), PAIRS)
def test_they_differ_in_at_most_ten_lines(bad: str, good: str) -> None:
    texts = [(PROGRAMS / f"{name}.py").read_text().splitlines() for name in (bad, good)]
    changed = [line for line in difflib.ndiff(*texts) if line[0] in "+-"]
    assert 0 < len(changed) <= 10, "\n".join(changed)


@pytest.mark.parametrize(("bad", "good"), PAIRS)
def test_the_bad_one_is_silent_and_the_good_one_nothing(bad: str, good: str, tmp_path: Path, rounds: int) -> None:
    for seed in range(1, rounds + 1):
        found = broken(bad, tmp_path / f"bad-{seed}", seed)
        assert {one["consequence"] for one in found.defects} == {"silent"}, found.said()
        quiet = broken(good, tmp_path / f"good-{seed}", seed)
        assert not quiet.defects and quiet.status == 0, quiet.said()
