"""Files of one masked name: as many as clean runs leave, each of them whole, whichever it is."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.core.calibration import Calibration
from blackstart.core.history import KILLED, End, History
from blackstart.core.reading import FileState
from blackstart.core.trace import Operation
from blackstart.core.verdict import DEFECT, FAILED, NOTE, PASSED, Verdict
from blackstart.oracles import end, state
from tests.unit.oracles.build import MASK, calibration, clean, file, history, run

MAIL = "$CWD/new/*.host"
NAMED = msgspec.structs.replace(MASK, names=(*MASK.names, (r"^\$CWD/new/[0-9]+\.host(?=/|$)", MAIL)))
WHOLE = ("Subject: hello\n\nbody 0\nend\n", "Subject: hello\n\nbody 1\nend\n", "Subject: hello\n\nbody 2\nend\n")


def files(*texts: str) -> dict[str, FileState]:
    return {f"$CWD/new/17{at}.host": file(text.encode(), f"/w/new/17{at}.host") for at, text in enumerate(texts)}


def left(count: int) -> dict[str, FileState]:
    states = sorted((file(text.encode(), MAIL) for text in WHOLE[:count]), key=lambda state: state.digest)
    return {MAIL if at == 1 else f"{MAIL} ({at})": state for at, state in enumerate(states, 1)}


def yardstick(*calls: str, hopeless: frozenset[str] = frozenset()) -> Calibration:
    trace = tuple(Operation(index=1, call=call, path="/w/new/170.host", masked=MAIL) for call in ("openat", *calls))
    runs = (clean(k, files=left(k + 1), versions={}, acknowledgements=(), stdout="", trace=trace) for k in range(3))
    return calibration(mask=msgspec.structs.replace(NAMED, hopeless=hopeless), roles={MAIL: "state"}, chain=tuple(runs))


def after(*texts: str, again: tuple[str, ...] = ()) -> History:
    killed = run("run", files(*texts), end=End(how=KILLED))
    return history("kill", (killed, run("restart", files(*again))))


def judged(given: History, by: Calibration) -> Verdict:
    (verdict,) = state.judge(given, by)
    return verdict


@pytest.mark.parametrize("again", [WHOLE[:2], WHOLE[1::-1], WHOLE, (WHOLE[0], WHOLE[2], WHOLE[1])])
def test_a_bag_of_whole_files_is_legal_in_any_order(again: tuple[str, ...]) -> None:
    assert judged(after(WHOLE[0], again=again), yardstick()).outcome == PASSED


@pytest.mark.parametrize(("piece", "words"), [("", "is empty"), ("Subject: hello\n\nbo", "only the beginning")])
@pytest.mark.parametrize("next_one", WHOLE[1:])
def test_a_half_made_one_that_nothing_reads_stays_for_good(next_one: str, piece: str, words: str) -> None:
    given = after(WHOLE[0], piece, again=(WHOLE[0], piece, next_one))
    verdict = judged(given, yardstick("fstat"))
    assert (verdict.outcome, verdict.consequence, verdict.paths) == (FAILED, "corrupt", (MAIL,))
    assert f"171.host, one of 3 files {MAIL}" in verdict.evidence[0] and words in verdict.evidence[0]
    assert judged(given, yardstick("read")).outcome == PASSED  # whoever reads it may pass over it


def test_files_that_are_gone_are_lost() -> None:
    verdict = judged(after(WHOLE[0], again=(WHOLE[1],)), yardstick())
    assert (verdict.outcome, verdict.consequence) == (FAILED, "lost")
    assert verdict.evidence == (f"after the restart there is 1 file {MAIL}; clean runs leave 2",)


def test_other_whole_contents_are_not_judged() -> None:
    assert judged(after(WHOLE[0], again=(WHOLE[0], "Subject: bounce\n")), yardstick()).outcome == PASSED


def test_what_cannot_be_compared_is_not_judged() -> None:
    given = after(WHOLE[0], "", again=(WHOLE[0], "", WHOLE[2]))
    assert judged(given, yardstick(hopeless=frozenset({f"{MAIL} (2)"}))).outcome == PASSED


@pytest.mark.parametrize(("texts", "is_short"), [
    (WHOLE[:1], True), ((WHOLE[0], ""), True), ((WHOLE[0], "Subject: hel"), True), (WHOLE[:2], False),
    ((WHOLE[1], WHOLE[0], "Subject"), False), ((WHOLE[0], WHOLE[2]), False),
])  # fmt: skip
def test_a_run_that_ends_well_claims_as_many_whole_files_as_clean_runs_leave(
    texts: tuple[str, ...], is_short: bool
) -> None:
    given = history("errno", (run("run", files(*texts)),))
    verdicts = [verdict for verdict in end.judge(given, yardstick()) if verdict.outcome == FAILED]
    assert [(one.consequence, one.label, one.paths) for one in verdicts] == [("silent", DEFECT, (MAIL,))] * is_short


@pytest.mark.parametrize(("texts", "label"), [(WHOLE[:1], NOTE), ((WHOLE[0], "Subject: hel"), DEFECT)])
def test_who_says_so_and_ends_well_is_unclean(texts: tuple[str, ...], label: str) -> None:
    given = history("errno", (run("run", files(*texts), stderr=b"cannot write\n"),))
    (verdict,) = [verdict for verdict in end.judge(given, yardstick()) if verdict.outcome == FAILED]
    assert (verdict.consequence, verdict.label) == ("unclean", label)
