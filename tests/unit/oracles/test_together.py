"""`together`: files that clean runs change together and a kill leaves apart are named in a note."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, KILLED, End, History
from blackstart.core.reading import FileState
from blackstart.core.verdict import FAILED, NOTE, PASSED, Verdict
from blackstart.oracles import judge_all, together
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, notes, run

TOTALS = "$CWD/totals.json"
LINES = "$CWD/done.txt"


def totals(count: int) -> FileState:
    return file(json.dumps({"notes": count}).encode(), TOTALS)


def both(start: int, **changes: Any) -> Any:
    old = (notes(start), totals(start)) if start else (None, None)
    now = {NOTES: notes(start + 1), TOTALS: totals(start + 1)}
    return clean(start, files=now, versions={path: (old[at], now[path]) for at, path in enumerate(now)}, **changes)


def yardstick(**changes: Any) -> Calibration:
    roles = {NOTES: "state", TOTALS: "state"}
    return calibration(**{"roles": roles, "chain": tuple(both(k) for k in range(4)), **changes})


def left(kept: int, counted: int, kind: str = "kill", **changes: Any) -> History:
    """A kill from one note, and a clean restart that leaves so many notes and such a total."""
    first = run("run", {NOTES: notes(2), TOTALS: totals(1)}, end=End(how=KILLED))
    return history(kind, (first, run("restart", {NOTES: notes(kept), TOTALS: totals(counted)}, **changes)))


def judge(given: History, **changes: Any) -> Verdict:
    (verdict,) = together.judge(given, yardstick(**changes))
    return verdict


def test_files_left_apart_are_a_note() -> None:
    found = judge(left(3, 2))
    assert (found.outcome, found.consequence, found.label) == (FAILED, "corrupt", NOTE)
    assert set(found.paths) == {NOTES, TOTALS}
    assert found.evidence[0] == (
        "after the restart $CWD/notes.json has what 2 clean runs leave and $CWD/totals.json has what 1 clean run leaves"
    )
    failing = [one for one in judge_all(left(3, 2), yardstick()) if one.outcome == FAILED]
    assert failing == [found], "the other oracles take each file for itself, and find both legal"


@pytest.mark.parametrize("both", [2, 3])
def test_files_that_agree_pass_whichever_run_they_show(both: int) -> None:
    assert judge(left(both, both)).outcome == PASSED


@pytest.mark.parametrize("count", [4, 9])
def test_a_content_that_no_clean_run_leaves_is_not_counted(count: int) -> None:
    assert judge(left(3, count)).outcome == PASSED


@pytest.mark.parametrize(("kept", "counted", "is_told"), [(1, 2, True), (2, 1, True), (2, 2, False), (1, 1, False)])
def test_work_that_only_the_first_run_does_and_that_is_marked_as_done_before_it_is(
    kept: int, counted: int, is_told: bool
) -> None:
    start, done = {NOTES: notes(1), TOTALS: totals(1)}, {NOTES: notes(2), TOTALS: totals(2)}
    first = clean(0, files=done, versions={path: (start[path], done[path]) for path in done})
    chain = (first, *(clean(k, files=done, versions={path: (done[path],) for path in done}) for k in (1, 2)))
    given = msgspec.structs.replace(left(kept, counted), start="S0")
    found = judge(given, chain=chain)
    assert (found.outcome == FAILED) == is_told
    if is_told:
        assert found.label == NOTE and "has what stood there at the start" in found.evidence[0]
        assert "has what 1 clean run leaves" in found.evidence[0]


def test_a_line_that_a_run_adds_which_finds_work_to_do_tells_nothing() -> None:
    start, done = {NOTES: notes(1), LINES: file(b"one\n", LINES)}, {NOTES: notes(2), LINES: file(b"one\ntwo\n", LINES)}
    first = clean(0, files=done, versions={path: (start[path], done[path]) for path in done})
    chain = (first, *(clean(k, files=done, versions={path: (done[path],) for path in done}) for k in (1, 2)))
    stands = {**done, LINES: start[LINES]}
    runs = (run("run", stands, end=End(how=KILLED)), run("restart", stands))
    found = judge(history("kill", runs, start="S0"), chain=chain, roles={NOTES: "state", LINES: "output"})
    assert found.outcome == PASSED


def test_a_file_that_stays_as_it_is_tells_nothing() -> None:
    same = tuple(clean(k, files={NOTES: notes(k + 1), TOTALS: totals(1)}) for k in range(4))
    assert judge(left(3, 1), chain=same).outcome == PASSED


def test_only_kills_and_only_where_no_check_tells() -> None:
    assert judge(left(3, 2, "errno")).outcome == PASSED
    assert judge(left(3, 2), has_check=True).outcome == PASSED
    assert judge(left(3, 2), refuses_rerun=True).outcome == PASSED
    assert judge(left(3, 2), roles={NOTES: "state", TOTALS: "log"}).outcome == PASSED
    assert judge(left(3, 2, end=End(how=EXITED, code=1))).outcome == PASSED, "the restart is the finding then"
