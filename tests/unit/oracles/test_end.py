"""`end`: bad and good twins of one history."""

from __future__ import annotations

import signal
from typing import Any

import msgspec
import pytest

from blackstart.core.history import DEADLINE, EXITED, SIGNALED, End, History, Injected, Run, Wait
from blackstart.core.reading import FileState
from blackstart.core.verdict import DEFECT, FAILED, NOTE, PASSED, UNKNOWN, Verdict
from blackstart.oracles import end
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, notes, run

SAVED = b"saved note 2\n"
LOG = "$CWD/app.log"


def judge(given: History, yardstick: object = None) -> Verdict:
    verdicts = end.judge(given, yardstick or calibration())  # type: ignore[arg-type]
    assert len(verdicts) == 1, verdicts
    return verdicts[0]


def ended(how: End | None = None, content: FileState | None = None, *restarts: Run, **changes: Any) -> History:
    changes.setdefault("stdout", SAVED)
    return history("errno", (run("run", {NOTES: content or notes(2)}, end=how, **changes), *restarts))


def waiting(state: str, elapsed_s: float = 9.0, **changes: Any) -> History:
    return ended(End(how=DEADLINE, elapsed_s=elapsed_s, wait=Wait(state=state, **changes)))


def test_the_whole_work_done_passes_and_a_clear_failure_too() -> None:
    assert judge(ended()).outcome == PASSED
    assert judge(ended(End(how=EXITED, code=1), notes(1), stderr=b"no space left\n", stdout=b"")).outcome == PASSED


def test_zero_without_the_work_and_without_a_word_is_silent() -> None:
    verdict = judge(ended(None, notes(1)))
    assert (verdict.consequence, verdict.paths) == ("silent", (NOTES,))
    assert "said nothing" in verdict.evidence[0] and "1 value, clean runs leave 2 values" in verdict.evidence[1]
    assert judge(ended(None, file(b'{"no'))).consequence == "silent"
    assert judge(ended(None, file(b'{"notes": []}'))).consequence == "silent"


@pytest.mark.parametrize("stderr", [b"", b"totals could not be written\n"])
def test_what_the_next_run_makes_anew_from_elsewhere_is_not_gone(stderr: bytes) -> None:
    def judged(kept: int, role: str = "state") -> Verdict:
        given = ended(None, file(b""), run("restart", {NOTES: notes(kept)}), stderr=stderr)
        return judge(given, calibration(roles={NOTES: role}))

    said = bool(stderr)
    assert (judged(3).consequence, judged(3).label) == ("unclean" if said else "silent", NOTE)
    assert "the next run makes it anew" in judged(3).evidence[0] or not said
    assert (judged(3, "output").consequence, judged(3, "output").label) == ("unclean" if said else "silent", DEFECT)
    for kept in (1, 2):  # what this run had to add, or all that stood there before, is not there afterwards
        assert (judged(kept).consequence, judged(kept).label) == ("lost" if said else "silent", DEFECT)


@pytest.mark.parametrize(("role", "holds", "outcome"), [
    ("state", b"\0HEAD" * 20, FAILED), ("state", b"\0HEAD" * 19 + b"\xff\xfesum", PASSED),
    ("output", b"\0HEAD" * 19 + b"\xff\xfesum", FAILED),
])  # fmt: skip
def test_fewer_bytes_of_its_own_binary_state_are_less_only_as_a_piece_of_it(
    role: str, holds: bytes, outcome: str
) -> None:
    index, whole = "$CWD/index", file(b"\0HEAD" * 19 + b"\xff\xfepart\xff\xfesum" * 2, "$CWD/index")
    if outcome == FAILED and role == "state":
        whole = file(holds + b"\xff\xfesum", index)
    chain = tuple(clean(k, files={index: whole}, versions={index: (None, whole)}) for k in range(3))
    yardstick = calibration(roles={index: role}, chain=chain)
    first = run("run", {index: file(holds, index)}, stdout=SAVED)
    assert judge(history("errno", (first,)), yardstick).outcome == outcome


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_zero_with_a_message_and_the_old_content_whole_is_a_note(stream: str) -> None:
    verdict = judge(ended(None, notes(1), **{stream: b"could not save\n"}))
    assert (verdict.consequence, verdict.label) == ("unclean", NOTE)
    assert "keeps what was there" in verdict.evidence[0]


@pytest.mark.parametrize("left", [None, file(b""), file(b'{"no'), file(b'{"notes": []}')])
def test_zero_with_a_message_and_old_content_gone_is_lost(left: FileState | None) -> None:
    first = run("run", {NOTES: left}, stdout=SAVED, stderr=b"could not save\n")
    verdict = judge(history("errno", (first,)))
    assert (verdict.consequence, verdict.label) == ("lost", DEFECT)
    assert "old content is gone" in verdict.evidence[0]


def test_zero_with_a_message_and_a_new_file_half_made_is_unclean() -> None:
    chain = tuple(clean(k, files={NOTES: notes(5)}, versions={NOTES: (None, notes(5))}) for k in range(3))
    half = ended(None, notes(2), stderr=b"could not save\n")
    verdict = judge(half, calibration(chain=chain))
    assert (verdict.consequence, verdict.label) == ("unclean", DEFECT)
    assert judge(ended(None, notes(2)), calibration(chain=chain)).consequence == "silent"


def test_an_answer_with_other_values_is_no_message() -> None:
    assert judge(ended(None, notes(1), stdout=b"saved note 1\n")).consequence == "silent"
    assert judge(ended(None, notes(1), stdout=b"")).consequence == "silent"


def test_a_message_in_a_log_counts_as_said() -> None:
    log = file(b"started\n", LOG)
    chain = tuple(clean(k, files={NOTES: notes(k + 1), LOG: log}) for k in range(3))
    yardstick = calibration(roles={NOTES: "state", LOG: "log"}, chain=chain)
    quiet = history("errno", (run("run", {NOTES: notes(1), LOG: log}, stdout=SAVED),))
    assert judge(quiet, yardstick).consequence == "silent"
    told = history("errno", (run("run", {NOTES: notes(1), LOG: file(b"started\nnot saved\n", LOG)}, stdout=SAVED),))
    assert judge(told, yardstick).consequence == "unclean"


def test_where_messages_differ_each_time_nothing_can_be_told() -> None:
    hopeless = msgspec.structs.replace(calibration().mask, hopeless=frozenset({"stderr"}))
    assert judge(ended(None, notes(1)), calibration(mask=hopeless)).outcome == UNKNOWN


def test_more_than_the_last_version_is_not_short_of_it() -> None:
    assert judge(ended(None, notes(3))).outcome == PASSED


def test_outputs_are_judged_logs_and_caches_are_not() -> None:
    assert judge(ended(None, notes(1)), calibration(roles={NOTES: "output"})).consequence == "silent"
    for role in ("log", "cache", "scratch", "config"):
        assert judge(ended(None, notes(1)), calibration(roles={NOTES: role})).outcome == PASSED


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE])
def test_a_crash_is_a_crash(number: int) -> None:
    verdict = judge(ended(End(how=SIGNALED, signal=number), None, run("restart", {NOTES: notes(2)})))
    assert verdict.consequence == "crashed" and "starts again" in verdict.evidence[0]


def test_a_default_action_and_an_abort_that_restarts_are_none() -> None:
    fine = run("restart", {NOTES: notes(2)})
    bad = run("restart", {NOTES: notes(2)}, end=End(how=EXITED, code=1))
    assert judge(ended(End(how=SIGNALED, signal=signal.SIGPIPE), None, fine)).outcome == PASSED
    assert judge(ended(End(how=SIGNALED, signal=signal.SIGABRT), None, fine)).outcome == PASSED
    assert judge(ended(End(how=SIGNALED, signal=signal.SIGABRT), None, bad)).consequence == "crashed"
    assert judge(ended(End(how=SIGNALED, signal=64), None, fine)).outcome == PASSED


def test_blocked_without_a_limit_is_hung() -> None:
    verdict = judge(waiting("blocked", seen_s=2.5, call="flock", path="/w/app.lock"))
    assert verdict.consequence == "hung" and "flock $CWD/app.lock" in verdict.evidence[0]
    assert verdict.paths == ("$CWD/app.lock",)
    pipe = judge(waiting("blocked", seen_s=2.5, call="read", path="pipe:[4711]"))
    assert pipe.paths == () and "in read pipe without" in pipe.evidence[0]
    assert judge(waiting("blocked", seen_s=1.0)).outcome == UNKNOWN
    assert judge(waiting("blocked", seen_s=2.5, elapsed_s=4.0)).outcome == UNKNOWN


def test_a_wait_with_a_limit_of_its_own_has_that_limit() -> None:
    assert judge(waiting("timed", limit_s=30.0, seen_s=20.0, elapsed_s=31.0)).outcome == UNKNOWN
    assert judge(waiting("timed", limit_s=30.0, seen_s=33.5, elapsed_s=40.0)).consequence == "hung"


def test_the_same_wait_again_and_again_must_be_confirmed() -> None:
    assert judge(waiting("repeating", rounds=50, seen_s=31.0, elapsed_s=40.0)).outcome == UNKNOWN
    assert judge(waiting("repeating", rounds=50, seen_s=151.0, elapsed_s=160.0)).consequence == "hung"
    assert judge(waiting("repeating", rounds=3, seen_s=151.0, elapsed_s=160.0)).outcome == UNKNOWN
    shorter = judge(waiting("repeating", rounds=50, seen_s=75.0, elapsed_s=80.0))
    assert (shorter.consequence, shorter.label) == ("hung", "note")
    assert "50 times in 75 s" in shorter.evidence[0] and "150 s would confirm" in shorter.evidence[0]


def test_what_tcp_ends_is_not_hung_however_long_a_silent_peer_puts_it_off() -> None:
    kept = judge(waiting("kept", limit_s=5.0, rounds=500, seen_s=151.0, elapsed_s=160.0))
    assert kept.outcome == UNKNOWN and "TCP gives that connection up" in kept.why


def test_spinning_and_slow() -> None:
    assert judge(waiting("busy", seen_s=6.0, cpu=0.97)).consequence == "spinning"
    assert judge(waiting("busy", seen_s=6.0, cpu=0.5)).outcome == UNKNOWN
    slow = judge(waiting("working"))
    assert slow.outcome == PASSED and slow.note.startswith("slow")


def test_what_the_fault_itself_holds_does_not_hang() -> None:
    given = waiting("blocked", seen_s=5.0)
    held = msgspec.structs.replace(given, injected=(Injected(fault="@1 hang", kind="delay", fired=1),))
    assert judge(held).outcome == PASSED


def test_an_uncaught_exception_is_a_note() -> None:
    text = (
        b"Traceback (most recent call last):\n"
        b'  File "/w/notes.py", line 12, in <module>\n    main()\n'
        b'  File "/w/notes.py", line 7, in save\n    file.write(text)\n'
        b'  File "/usr/lib/python3.11/codecs.py", line 12, in write\n    return 1\n'
        b"OSError: [Errno 28] No space left on device\n"
    )
    verdict = judge(ended(End(how=EXITED, code=1), notes(1), stderr=text, stdout=b""))
    assert (verdict.consequence, verdict.label) == ("unclean", NOTE)
    assert "OSError in save (notes.py)" in verdict.evidence[0]
    used = calibration(chain=tuple(clean(k, stderr=text.decode()) for k in range(3)))
    assert judge(ended(End(how=EXITED, code=1), notes(1), stderr=text, stdout=b""), used).outcome == PASSED


def test_dying_of_int_as_python_does_is_no_note() -> None:
    text = b'Traceback (most recent call last):\n  File "/w/x.py", line 1, in <module>\nKeyboardInterrupt\n'
    pressed = ended(End(how=EXITED, code=1), notes(1), stderr=text, stdout=b"")
    assert judge(msgspec.structs.replace(pressed, kind="signal")).label != NOTE
    assert judge(msgspec.structs.replace(pressed, kind="errno")).label == NOTE


def test_an_uncaught_exception_is_named_whatever_stands_between_its_lines() -> None:
    text = (
        b"Traceback (most recent call last):\n"
        b'  File "/usr/bin/notes", line 3, in <module>\n    run()\n'
        b'  File "/w/notes.py", line 7, in start\n    store.begin()\n'
        b'INFO Job "cycle (trigger: interval[0:01:00])" executed successfully\n'
        b'  File "<store generated wrapper for begin>", line 2, in has_table\n'
        b"store.errors.Locked: (5) database is locked\n(Background on this error at: https://example.org/e3q8)\n"
    )
    said = judge(ended(End(how=EXITED, code=1), notes(1), stderr=text, stdout=b"")).evidence[0]
    assert said == "an uncaught store.errors.Locked in start (notes.py): store.errors.Locked: (5) database is locked"


def test_an_uncaught_exception_whose_traceback_breaks_off_is_one_without_a_name() -> None:
    text = b'Traceback (most recent call last):\n  File "/w/notes.py", line 7, in <module>\n    store.begin()\n'
    said = judge(ended(End(how=EXITED, code=1), notes(1), stderr=text, stdout=b"")).evidence[0]
    assert said == "an uncaught exception in <module> (notes.py)"


OLD_FILE = "$CWD/notes.1"


@pytest.mark.parametrize(("writes", "label"), [(True, "note"), (False, "defect")])
def test_what_could_not_be_removed_in_silence_is_a_note_where_the_work_was_done(writes: bool, label: str) -> None:
    old, done = file(b"old", OLD_FILE), notes(2) if writes else notes(1)
    chain = tuple(
        clean(k, versions={NOTES: (notes(1), done), OLD_FILE: (old, None)}, files={NOTES: done}) for k in range(3)
    )
    first = run("run", {NOTES: done, OLD_FILE: old}, stdout=b"saved note 2\n")
    verdict = judge(history("errno", (first,)), calibration(chain=chain, roles={NOTES: "state", OLD_FILE: "state"}))
    assert (verdict.consequence, verdict.label, verdict.paths) == ("silent", label, (OLD_FILE,))
