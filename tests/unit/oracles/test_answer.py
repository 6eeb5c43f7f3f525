"""`answer`: damage to a cache, and an error at a read, must not change what is answered in silence."""

from __future__ import annotations

from typing import Any

from blackstart.core.history import EXITED, End, History, Injected
from blackstart.core.trace import Operation
from blackstart.core.verdict import FAILED, PASSED, UNKNOWN, Verdict
from blackstart.oracles import answer, judge_all
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, notes, run

CACHE = "$CWD/sum.cache"
CHAIN = tuple(clean(k, stdout=f"sum: {k + 7}\nsaved note {k + 1}\n") for k in range(3))
YARDSTICK = calibration(roles={NOTES: "state", CACHE: "cache"}, chain=CHAIN)
RIGHT, WRONG = b"sum: 8\nsaved note 2\n", b"sum: 0\nsaved note 2\n"


def judge(given: History) -> Verdict:
    (verdict,) = answer.judge(given, YARDSTICK)
    return verdict


def damaged(path: str = CACHE, **changes: Any) -> History:
    fault = Injected(fault=f"{path} is truncated", kind="file", hits=1, fired=1)
    return history("file", (run("run", {NOTES: notes(2), CACHE: file(b"8")}, **changes),), injected=(fault,))


def unread(call: str = "read", masked: str = NOTES, flags: int = 0, **changes: Any) -> History:
    operation = Operation(index=3, call=call, path=masked.replace("$CWD", "/w"), masked=masked, flags=flags)
    fault = Injected(fault=f"{call} {masked} @1 raise(EIO)", kind="errno", hits=1, fired=1, operation=operation)
    return history("errno", (run("run", {NOTES: notes(2)}, **changes),), injected=(fault,))


def test_a_damaged_cache_must_not_change_an_answer_in_silence() -> None:
    assert judge(damaged(stdout=RIGHT)).outcome == PASSED
    found = judge(damaged(stdout=WRONG))
    assert (found.consequence, found.paths) == ("silent", (CACHE,))
    assert "`sum: 0`; clean runs print `sum: 8`" in found.evidence[1]


def test_saying_so_or_failing_is_enough() -> None:
    assert judge(damaged(stdout=WRONG, stderr=b"the cache is damaged\n")).outcome == PASSED
    assert judge(damaged(stdout=WRONG + b"cache rebuilt\n")).outcome == PASSED
    assert judge(damaged(stdout=WRONG, end=End(how=EXITED, code=1))).outcome == PASSED


def test_of_damaged_state_nobody_knows_the_right_answer() -> None:
    assert judge(damaged(NOTES, stdout=WRONG)).outcome == PASSED


def test_an_error_at_a_read_of_own_files_is_no_empty_file() -> None:
    assert judge(unread(stdout=WRONG)).consequence == "silent"
    assert judge(unread("openat", stdout=WRONG)).consequence == "silent"
    assert judge(unread("openat", CACHE, stdout=WRONG)).consequence == "silent"
    assert judge(unread("openat", flags=0o1102, stdout=WRONG)).outcome == PASSED  # opened to be written
    assert judge(unread("write", stdout=WRONG)).outcome == PASSED
    assert judge(unread(masked="$CWD/settings.ini", stdout=WRONG)).outcome == PASSED  # defaults are legal


def test_null_trials_are_judged_alike_so_that_wandering_answers_mute_it() -> None:
    wandering = history("null", (run("run", {NOTES: notes(2)}, stdout=WRONG),))
    assert judge(wandering).outcome == FAILED


def test_without_a_clean_run_nothing_is_known() -> None:
    (verdict,) = answer.judge(history("null", (run("run", {}),), start="S9"), YARDSTICK)
    assert verdict.outcome == UNKNOWN


def test_one_file_is_told_once_and_a_note_hides_no_defect() -> None:
    given = unread(stdout=WRONG)
    first = run("run", {NOTES: notes(1)}, stdout=WRONG)
    found = [v for v in judge_all(history("errno", (first,), injected=given.injected), YARDSTICK) if v.consequence]
    assert [(v.oracle, v.consequence) for v in found] == [("end", "silent")]
    assert any("sum: 0" in text for text in found[0].evidence)
