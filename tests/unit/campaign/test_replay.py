"""A replay's outcome and its story, from histories made by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.campaign import replay as _function
from blackstart.campaign.replay import _outcome, _said_more, _start_in_words, _story
from blackstart.campaign.worker import Outcome
from blackstart.core.errors import BlackstartError
from blackstart.core.history import DEADLINE, KILLED, SIGNALED, STOPPED, End, Injected, Output, Reset, Run, Wait
from blackstart.core.options import Options
from blackstart.core.reading import Reading
from blackstart.core.verdict import FAILED, NOTE, PASSED, UNKNOWN, failed, passed, unknown
from blackstart.findings import Failure, cause_of
from blackstart.report.progress import SilentProgress

from .build import history, outcome, plan

LOST = failed("state", "lost", "two notes are gone", paths=("$CWD/a",))


def finding(**more: Any) -> dict[str, Any]:
    cause = cause_of(Failure(history=history(plan()), verdict=LOST))
    return {"id": "lost-1", "fingerprint": cause, "consequence": "lost", "paths": ["$CWD/a"], **more}


def test_the_same_cause_still_fails() -> None:
    assert _outcome(outcome(plan(), passed("fired"), LOST), finding()) == FAILED


def test_the_same_consequence_on_the_same_files_still_fails() -> None:
    assert _outcome(outcome(plan(), passed("fired"), LOST), finding(fingerprint="1-other")) == FAILED


def test_another_failure_is_not_this_one() -> None:
    other = failed("state", "corrupt", "torn", paths=("$CWD/b",))
    assert _outcome(outcome(plan(), passed("fired"), other), finding()) != FAILED


def test_a_note_on_the_way_does_not_hide_that_it_no_longer_fails() -> None:
    note = failed("end", "unclean", "an uncaught OSError in add", label=NOTE)
    assert _outcome(outcome(plan(), passed("fired"), note), finding()) == PASSED


def test_a_fault_that_did_not_fire_decides_nothing() -> None:
    assert _outcome(outcome(plan(), unknown("fired", "never reached")), finding()) == UNKNOWN


def test_trouble_of_the_sandbox_decides_nothing() -> None:
    made = outcome(plan(), passed("fired"))
    troubled = Outcome(history=msgspec.structs.replace(made.history, trouble="no room"), verdicts=made.verdicts)
    assert _outcome(troubled, finding()) == UNKNOWN


def test_an_oracle_that_could_not_say_decides_nothing() -> None:
    made = outcome(plan(), passed("fired"), unknown("state", "the file cannot be masked"))
    assert _outcome(made, finding()) == UNKNOWN


def test_what_no_longer_fails() -> None:
    assert _outcome(outcome(plan(), passed("fired"), passed("state")), finding()) == PASSED


@pytest.mark.parametrize(
    ("start", "words"), [("S0", "as it is here"), ("S1", "after 1 clean run"), ("S3", "after 3 clean runs")]
)
def test_start_states_in_words(start: str, words: str) -> None:
    assert _start_in_words(start) == words


def test_the_story_tells_every_step() -> None:
    runs = (
        Run(phase="before", end=End(how="exited")),
        Run(phase="run", end=End(how=KILLED, elapsed_s=0.5), outputs=(Output(stream="stdout", data=b"a\nb\n"),)),
        Run(
            phase="restart",
            end=End(how=DEADLINE, elapsed_s=7.0, wait=Wait(state="blocked", call="flock")),
            readings=(Reading(name="check", value="0\nthree notes\n"),),
        ),
        Run(
            phase="restart-again",
            end=End(how=SIGNALED, signal=11),
            outputs=(Output(stream="stderr", data=b"\xff!\n"),),
        ),
    )
    injected = (
        *history(plan()).injected,
        Injected(fault="never", kind="kill", note="its place was reached 0 times"),
        msgspec.structs.replace(history(plan()).injected[0], matched=False),
    )
    told = msgspec.structs.replace(
        history(plan()),
        runs=runs,
        injected=injected,
        resets=(Reset(removed=("/w/lock",), helped=True), Reset(put_back=("/w/a",))),
    )
    lines = "\n".join(_story(plan(), Outcome(history=told, verdicts=(LOST, unknown("end", "crashed")))))
    for words in (
        "start: state S1 (after 1 clean run)",
        "fault: kill before write $CWD/a @1",
        "fired in write $CWD/a",
        "did not fire: its place was reached 0 times",
        "drifted",
        "run: killed by the fault after 0.50 s",
        "stdout: b",
        "restart: did not end (blocked in flock) after 7.00 s",
        "check: exit status 0\n    three notes",
        "restart-again: ended by signal 11",
        "reset: /w/lock removed: it starts again",
        "reset: /w/a put back: no help",
        "state: lost $CWD/a",
        "two notes are gone",
        "end: unknown: crashed",
    ):
        assert words in lines, (words, lines)
    assert "before:" not in lines


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (End(how=STOPPED, elapsed_s=2.0), "run: told to stop, and exit status 0 after 2.00 s"),
        (End(how=STOPPED, code=3, elapsed_s=2.0), "run: told to stop, and exit status 3 after 2.00 s"),
        (End(how=STOPPED, signal=15, elapsed_s=2.0), "run: told to stop, and ended by signal 15 after 2.00 s"),
    ],
)
def test_a_service_that_was_told_to_stop(end: End, words: str) -> None:
    told = msgspec.structs.replace(history(plan()), runs=(Run(phase="run", end=end),))
    assert words in list(_story(plan(), Outcome(history=told, verdicts=(LOST,))))


def test_a_plan_that_cannot_be_read_is_told_with_the_next_step() -> None:
    with pytest.raises(BlackstartError, match="cannot be read") as caught:
        _function({"id": "lost-1", "plan": {"kind": 3}}, Options(command=("x",), cwd="/w"), SilentProgress())
    assert caught.value.where == "lost-1"
    assert caught.value.next_step


def test_enough_of_what_it_said_for_a_traceback_and_all_of_it_aside() -> None:
    said = b"".join(b"line %d\n" % n for n in range(1, 21)) + b"e" * 500 + b"\n"
    runs = (
        Run(phase="run", end=End(how=KILLED), outputs=(Output(stream="stdout", data=b"short\n"),)),
        Run(phase="restart", end=End(how="exited", code=1), outputs=(Output(stream="stderr", data=said),)),
        Run(phase="restart-again", end=End(how="exited", code=1), outputs=(Output(stream="stderr", data=said),)),
    )
    told = Outcome(history=msgspec.structs.replace(history(plan()), runs=runs), verdicts=(LOST,))
    lines = [line.removeprefix("  stderr: ") for line in _story(plan(), told) if line.startswith("  stderr: ")]
    assert lines[:5] == [f"line {n}" for n in range(1, 6)]
    assert lines[5:12] == ["… (9 lines between)", *(f"line {n}" for n in range(15, 21))]
    assert lines[12:] == ["e" * 159 + "…", "the same 21 lines"]
    assert _said_more(told) == {"restart.stderr": said, "restart-again.stderr": said}
