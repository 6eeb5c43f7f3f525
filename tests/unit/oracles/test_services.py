"""The oracles of services on histories built by hand; each bad one has a good neighbour.

covers: L-2, M-6, M-19, SS-5
"""

from __future__ import annotations

import signal
from typing import Any

import msgspec
import pytest

from blackstart.core.calibration import Effect
from blackstart.core.history import (
    EXITED,
    KILLED,
    STOPPED,
    Act,
    End,
    History,
    Injected,
    Life,
    Output,
    Run,
    Wait,
    WorkloadEnd,
)
from blackstart.core.reading import Reading
from blackstart.core.trace import Operation
from blackstart.core.verdict import FAILED, PASSED, POLICY, UNKNOWN, Verdict
from blackstart.oracles import alive, judge_all, promises, readable, stopping

from .build import NOTES, calibration, clean, file, history, image, notes

ACTS = (Act(how="ok", id="a"), Act(how="ok", id="b"), Act(how="info", id="c"))
LIFE = Life(ready_s=0.1, acts=ACTS, fired_s=0.3, healed_s=0.5, again_s=0.6, stop_s=1.0)
UP = End(how=STOPPED, elapsed_s=1.1)
SERVICE = calibration(
    is_service=True,
    has_check=True,
    chain=tuple(msgspec.structs.replace(clean(k), life=LIFE, check="0\nhave a\nhave b\nhave c\n") for k in range(2)),
)


def said(*ids: str, code: int = 0) -> tuple[Reading, ...]:
    return (Reading(name="check", value=f"{code}\n" + "".join(f"have {one}\n" for one in ids)),)


def start(phase: str, *, end: End = UP, life: Life = LIFE, **more: Any) -> Run:
    return Run(phase=phase, end=end, life=life, image=more.pop("image", image({NOTES: notes(2)})), **more)


def trial(*runs: Run, kind: str = "kill") -> History:
    return history(kind, runs)


def after_kill(*ids: str, **more: Any) -> History:
    life = msgspec.structs.replace(LIFE, stop_s=-1.0, healed_s=-1.0, again_s=-1.0)
    return trial(start("run", end=End(how=KILLED), life=life), start("restart", readings=said(*ids), **more))


def one(verdicts: tuple[Verdict, ...]) -> tuple[str, str]:
    failing = [v for v in verdicts if v.outcome == FAILED]
    return (failing[0].outcome, failing[0].consequence) if failing else (verdicts[0].outcome, "")


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (("a", "b"), (PASSED, "")),
        (("a", "b", "c"), (PASSED, "")),
        (("a",), (FAILED, "lost")),
        (("a", "b", "z"), (FAILED, "corrupt")),
        ((), (FAILED, "lost")),
    ],
)
def test_what_was_acknowledged_is_read_back(ids: tuple[str, ...], found: tuple[str, str]) -> None:
    assert one(promises.judge(after_kill(*ids), SERVICE)) == found


@pytest.mark.parametrize(
    ("ids", "code", "found"), [(("a",), 0, (PASSED, "")), (("z",), 0, (PASSED, "")), ((), 1, (FAILED, "lost"))]
)
def test_what_it_keeps_until_some_time_of_day_may_go_with_that(
    ids: tuple[str, ...], code: int, found: tuple[str, str]
) -> None:
    given = trial(start("run"), start("restart", readings=said(*ids, code=code)), kind="time")
    assert one(promises.judge(given, SERVICE)) == found


@pytest.mark.parametrize(
    ("before", "told", "said"),
    [
        ("have a\nhave b\n", "have a\n", "2 were acknowledged; after the restart 1 is gone: b"),
        ("have a\nhave b\n", "end\n", "2 were acknowledged; after the restart 2 are gone: a, b"),
        ("count 7\n", "count 6\n", "2 were acknowledged; after the restart 1 of 2 increments gone: the count is 6"),
    ],
)
def test_what_is_gone_is_said_in_its_own_words(before: str, told: str, said: str) -> None:
    life = msgspec.structs.replace(LIFE, acts=ACTS[:2])
    chain = tuple(msgspec.structs.replace(one, life=life, check=f"0\n{before}") for one in SERVICE.chain)
    answer = (Reading(name="check", value=f"0\n{told}"),)
    given = trial(start("run", life=life), start("restart", life=life, readings=answer))
    verdict = promises.judge(given, msgspec.structs.replace(SERVICE, chain=chain))[0]
    assert (verdict.consequence, verdict.evidence[0]) == ("lost", said)


def test_write_behind_is_a_policy() -> None:
    behind = msgspec.structs.replace(SERVICE, write_behind="write-behind: up to 3.0 s later")
    verdict = promises.judge(after_kill("a"), behind)[0]
    assert (verdict.consequence, verdict.label) == ("lost", POLICY)
    assert verdict.evidence[-1].startswith("write-behind")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("have a\nend\n", (FAILED, "lost")),
        ("end\n", (FAILED, "lost")),  # nothing is left, and the check says so to its end
        ("have a\n", (UNKNOWN, "")),
        ("", (UNKNOWN, "")),
        ("have a\nhave b\nend\n", (PASSED, "")),
    ],
)
def test_an_answer_without_its_closing_line_tells_nothing(told: str, found: tuple[str, str]) -> None:
    chain = tuple(msgspec.structs.replace(c, check="0\nhave a\nhave b\nhave c\nend\n") for c in SERVICE.chain)
    closed = msgspec.structs.replace(SERVICE, chain=chain)
    answer = (Reading(name="check", value=f"0\n{told}"),)
    assert one(promises.judge(trial(start("run"), start("restart", readings=answer)), closed)) == found


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("0\nhave a\nhave b\nhave /\ncount 9\n", (PASSED, "")),  # what the clients asked for is there, too
        ("0\nhave a\nhave /\ncount 9\n", (FAILED, "lost")),
        ("0\nhave a\nhave b\ncount 1\n", (FAILED, "lost")),
        ("1\nhave a\nhave b\ncount 2\n", (FAILED, "corrupt")),
    ],
)
def test_what_other_clients_left_is_nobodys_fault(told: str, found: tuple[str, str]) -> None:
    chain = tuple(msgspec.structs.replace(c, check="0\nhave a\nhave b\nhave c\ncount 2\n") for c in SERVICE.chain)
    asked = trial(start("run"), start("restart", readings=(Reading(name="check", value=told),)), kind="clients")
    assert one(promises.judge(asked, msgspec.structs.replace(SERVICE, chain=chain))) == found


CUT = msgspec.structs.replace(LIFE, acts=(Act(how="ok", id="a"),), workload=WorkloadEnd())
DONE = WorkloadEnd(code=0)
TO_ITS_END = msgspec.structs.replace(CUT, workload=DONE)
TWICE_MORE = msgspec.structs.replace(LIFE, workload=DONE, meanwhile=ACTS, again=ACTS, again_workload=DONE)
TAKEN = "have a\nhave b\nnext a\nnext b\n"


@pytest.mark.parametrize(
    ("life", "told", "found"),
    [
        (TWICE_MORE, f"{TAKEN}count 9", (PASSED, "")),  # the workload has run three times in this start
        (TWICE_MORE, f"{TAKEN}count 10", (FAILED, "corrupt")),
        (TWICE_MORE, f"{TAKEN}count 5", (FAILED, "lost")),
        (TWICE_MORE, f"{TAKEN * 3}count 9", (PASSED, "")),
        (CUT, "have a\nnext a\ncount 2", (PASSED, "")),  # its client was to try once more, and had not said so yet
        (TO_ITS_END, "have a\nnext a\ncount 2", (FAILED, "corrupt")),
    ],
)
def test_all_that_was_asked_for_is_counted(life: Life, told: str, found: tuple[str, str]) -> None:
    usual = "0\nhave a\nhave b\nhave c\nnext a\nnext b\nnext c\ncount 2\n"
    chain = tuple(msgspec.structs.replace(c, check=usual) for c in SERVICE.chain)
    asked = trial(start("run", life=life), start("restart", readings=(Reading(name="check", value=f"0\n{told}\n"),)))
    assert one(promises.judge(asked, msgspec.structs.replace(SERVICE, chain=chain))) == found


@pytest.mark.parametrize(
    ("fine", "told", "found"),
    [
        ("have a\nhave b\nhave c\n3 notes\n", "0\nhave a\nhave b\n2 notes\n", (PASSED, "")),
        ("have a\nhave b\nhave c\n3 notes\n", "0\nhave a\n1 notes\n", (FAILED, "lost")),
        ("have a\nhave b\nhave c\nend\n", "1\nhave a\nbroken\n", (FAILED, "lost")),
        ("all is well\n", "1\nb is missing\n", (FAILED, "corrupt")),
        ("all is well\n", "1\nlost b\n", (FAILED, "lost")),
        ("all is well\n", "0\nwell\n", (PASSED, "")),
    ],
)
def test_a_check_may_say_in_other_words_that_something_is_wrong(fine: str, told: str, found: tuple[str, str]) -> None:
    chain = tuple(msgspec.structs.replace(c, check=f"0\n{fine}") for c in SERVICE.chain)
    answer = (Reading(name="check", value=told),)
    given = trial(start("run"), start("restart", readings=answer))
    assert one(promises.judge(given, msgspec.structs.replace(SERVICE, chain=chain))) == found


def test_a_check_that_hangs_or_fails() -> None:
    hanging = (Reading(name="check", value="-1\n", error="the check had not ended after 30 s"),)
    silent = trial(start("run"), start("restart", readings=hanging))
    assert one(promises.judge(silent, SERVICE)) == (UNKNOWN, "")
    failing = trial(start("run"), start("restart", readings=said("a", "b", code=3)))
    assert one(promises.judge(failing, SERVICE)) == (FAILED, "corrupt")


def test_dead_is_only_what_tries_nothing() -> None:
    cases = ((0.7, False, (PASSED, "")), (-1.0, True, (UNKNOWN, "")), (-1.0, False, (FAILED, "dead")))
    for again_s, tried, found in cases:
        life = msgspec.structs.replace(LIFE, again_s=again_s, tried=tried)
        assert one(alive.judge(trial(start("run", life=life), kind="errno"), SERVICE)) == found


TICK, SAVE = "write $CWD/ticks", "pwrite64 $CWD/jobs"
TICKING = msgspec.structs.replace(SERVICE, effects=(Effect(period_s=1.0, names=(SAVE, TICK)),))


@pytest.mark.parametrize(
    ("life", "found"),
    [
        ({"effects": {TICK: (1.4,)}}, (PASSED, "")),
        ({}, (FAILED, "dead")),
        ({"effects": {"connect socket:inet:10.0.0.1:80": (2.0,)}}, (UNKNOWN, "")),  # it tries something
        ({"back_off_s": 30.0}, (UNKNOWN, "")),  # it may try later
        ({"stop_s": 3.0}, (UNKNOWN, "")),  # it was not watched for long enough
    ],
)
def test_what_it_did_again_and_again_must_come_again(life: dict[str, Any], found: tuple[str, str]) -> None:
    watched = msgspec.structs.replace(LIFE, **{"stop_s": 7.0, **life})
    assert one(alive.judge(trial(start("run", life=watched), kind="db"), TICKING)) == found


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("blocked", (FAILED, "hung")),
        ("repeating", (FAILED, "hung")),
        ("busy", (FAILED, "spinning")),
        ("timed", (UNKNOWN, "")),
        ("working", (UNKNOWN, "")),
    ],
)
def test_one_that_does_not_stop(state: str, found: tuple[str, str]) -> None:
    held = msgspec.structs.replace(LIFE, held_up=Wait(state=state, call="futex"))
    run = start("run", life=held, end=End(how=STOPPED, signal=9, elapsed_s=8.0))
    assert one(stopping.judge(trial(run), SERVICE)) == found
    ignores = msgspec.structs.replace(SERVICE, chain=(clean(0), msgspec.structs.replace(clean(1), life=held)))
    assert one(stopping.judge(trial(run), ignores)) == (PASSED, "")


def test_one_that_does_not_end_while_its_last_save_fails_is_not_hung() -> None:
    held = msgspec.structs.replace(LIFE, fired_s=1.01, held_up=Wait(state="timed", call="epoll_wait", limit_s=0.1))
    run = start("run", life=held, end=End(how=STOPPED, signal=9, elapsed_s=8.0))
    assert one(stopping.judge(trial(run, kind="errno"), SERVICE)) == (UNKNOWN, "")


def test_an_exception_on_the_way_out_is_unclean_and_one_before_is_not() -> None:
    text = b'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nKeyError: 1\n'
    bad = End(how=STOPPED, code=1, elapsed_s=1.1)
    for at_s, found in ((1.05, (FAILED, "unclean")), (0.4, (PASSED, ""))):
        run = start("run", outputs=(Output(stream="stderr", data=text, at_s=at_s),), end=bad)
        assert one(stopping.judge(trial(run), SERVICE)) == found
    for told in (b"KeyboardInterrupt", b"asyncio.exceptions.CancelledError", b"CancelledError: shutting down"):
        pressed = text.replace(b"KeyError: 1", told)
        run = start("run", outputs=(Output(stream="stderr", data=pressed, at_s=1.05),), end=bad)
        assert one(stopping.judge(trial(run), SERVICE)) == (PASSED, "")


@pytest.mark.parametrize(
    "text",
    [
        "panic: open last: no space left on device\n\ngoroutine 1 [running]:\nmain.main()\n",
        "thread 'main' panicked at 'no space', src/main.rs:7:5\n",
        'Exception in thread "main" java.lang.IllegalStateException: no space\n\tat App.stop(App.java:7)\n',
        "/w/app.js:7\n    throw new Error('no space')\n    ^\n\nError: no space\n    at stop (/w/app.js:7:11)\n"
        "\nNode.js v20.19.2\n",
    ],
)
def test_an_exception_of_another_language_is_unclean_where_the_exit_status_says_so(text: str) -> None:
    for code, found in ((2, (FAILED, "unclean")), (0, (PASSED, ""))):
        said = (Output(stream="stderr", data=text.encode(), at_s=1.05),)
        run = start("run", outputs=said, end=End(how=STOPPED, code=code, elapsed_s=1.1))
        assert one(stopping.judge(trial(run), SERVICE)) == found
    for logged in (b"save: Error: no space, panic: none\n", b"Error: no space\n    at stop (/w/app.js:7:11)\n"):
        told = (Output(stream="stderr", data=logged, at_s=1.05),)
        ended = start("run", outputs=told, end=End(how=STOPPED, code=1, elapsed_s=1.1))
        assert one(stopping.judge(trial(ended), SERVICE)) == (PASSED, "")


def test_dying_of_term_is_no_crash_and_dying_of_a_fault_is() -> None:
    for number, found in ((signal.SIGTERM, (PASSED, "")), (signal.SIGSEGV, (FAILED, "crashed"))):
        run = start("run", end=End(how=STOPPED, signal=number, elapsed_s=1.1))
        assert one(stopping.judge(trial(run), SERVICE)) == found


def test_children_that_go_on_are_leaked_unless_clean_stops_leave_them_too() -> None:
    run = start("run", left=("worker 1",))
    assert one(stopping.judge(trial(run), SERVICE)) == (FAILED, "leaked")
    daemon = msgspec.structs.replace(
        SERVICE, chain=tuple(msgspec.structs.replace(c, left=("daemon",)) for c in SERVICE.chain)
    )
    assert one(stopping.judge(trial(run), daemon)) == (PASSED, "")


@pytest.mark.parametrize(("path", "found"), [("$CWD/notes.json", (FAILED, "unclean")), ("$CWD/pid", (PASSED, ""))])
def test_a_lock_that_stays_is_unclean_unless_its_own_removal_was_what_failed(path: str, found: tuple[str, str]) -> None:
    locks = msgspec.structs.replace(SERVICE, roles={**SERVICE.roles, "$CWD/pid": "lock"})
    unlinked = Operation(index=0, call="unlink", path=path.replace("$CWD", "/w"), masked=path)
    broken = Injected(fault="unlink fails with EIO", kind="errno", fired=1, operation=unlinked)
    run = start("run", image=image({NOTES: notes(2), "$CWD/pid": file(b"12")}))
    seen = msgspec.structs.replace(trial(run, kind="errno"), injected=(broken,))
    assert one(stopping.judge(seen, locks)) == found


def test_files_must_read_where_nobody_asks_what_it_has() -> None:
    broken = image({NOTES: file(b'{"notes": [')})
    blind = msgspec.structs.replace(SERVICE, has_check=False)
    assert one(readable.judge(trial(start("run"), start("restart", image=broken)), blind)) == (FAILED, "corrupt")
    other = image({NOTES: notes(7)})
    assert one(readable.judge(trial(start("run"), start("restart", image=other)), blind)) == (PASSED, "")
    assert one(readable.judge(after_kill("a", "b", image=broken), SERVICE)) == (PASSED, "")


def test_a_service_that_is_well_passes_all_of_them() -> None:
    good = trial(start("run", readings=said("a", "b")), start("restart", readings=said("a", "b", "c")), kind="errno")
    assert {v.outcome for v in judge_all(good, SERVICE)} == {PASSED}


def test_one_that_ends_by_itself_is_judged_by_its_restart() -> None:
    fallen = start("run", end=End(how=EXITED, code=1), life=msgspec.structs.replace(LIFE, stop_s=-1.0))
    good = trial(fallen, start("restart", readings=said("a", "b")), kind="errno")
    assert {v.outcome for v in judge_all(good, SERVICE)} == {PASSED}
