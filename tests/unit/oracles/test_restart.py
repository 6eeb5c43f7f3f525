"""`restart`: bad and good twins of one history."""

from __future__ import annotations

from blackstart.core.history import DEADLINE, EXITED, KILLED, SIGNALED, End, Reset
from blackstart.core.verdict import DEFECT, FAILED, NOTE, PASSED, UNKNOWN, Verdict
from blackstart.oracles import restart
from tests.unit.oracles.build import NOTES, calibration, history, killed, notes, refused, run


def judge(given: object, yardstick: object = None) -> Verdict:
    verdicts = restart.judge(given, yardstick or calibration())  # type: ignore[arg-type]
    assert len(verdicts) == 1, verdicts
    return verdicts[0]


def restarted(*ends: End) -> object:
    first = run("run", {NOTES: notes(1)}, end=End(how=KILLED))
    phases = ("restart", "restart again")
    return history("kill", (first, *(run(p, {NOTES: notes(1)}, end=e) for p, e in zip(phases, ends, strict=False))))


def test_a_clean_restart_passes_and_one_failure_may_be_recovery() -> None:
    assert judge(killed(notes(1), notes(2))).outcome == PASSED
    verdict = judge(restarted(End(how=EXITED, code=1), End(how=EXITED)))
    assert verdict.outcome == PASSED and "the second one worked" in verdict.note


def test_one_failed_restart_alone_is_unknown() -> None:
    assert judge(restarted(End(how=EXITED, code=1))).outcome == UNKNOWN
    assert judge(restarted()).outcome == UNKNOWN


def test_what_only_had_to_be_removed_is_stuck() -> None:
    tried = (Reset(removed=("/w/other",)), Reset(removed=("/w/app.lock",), helped=True))
    verdict = judge(refused(notes(1), resets=tried))
    assert (verdict.consequence, verdict.paths) == ("stuck", ("$CWD/app.lock",))
    assert "cannot read notes.json" in verdict.evidence[0]
    assert "$CWD/app.lock is removed" in verdict.evidence[1]


def test_a_program_that_says_all_on_stdout_is_heard_there() -> None:
    first = run("run", {NOTES: notes(1)}, end=End(how=KILLED))
    end, said = End(how=EXITED, code=3), b"saved note 2\nerror: structure invalid\n"
    again = (run(phase, {NOTES: notes(1)}, end=end, stdout=said) for phase in ("restart", "restart again"))
    runs = (first, *again)
    verdict = judge(history("kill", runs, resets=(Reset(put_back=("/w/notes.json",), helped=True),)))
    assert verdict.evidence[0].endswith("exit status 3, saying: error: structure invalid")
    alone = judge(history("kill", runs))
    assert alone.evidence[0].endswith("ends with exit status 3"), "its words are part of the fingerprint"


def test_a_lock_that_expires_by_itself_is_a_note() -> None:
    tried = (Reset(removed=("/w/app.lock",), helped=True),)
    verdict = judge(refused(notes(1), resets=tried, late=run("late", {NOTES: notes(2)}), late_s=6.2))
    assert (verdict.consequence, verdict.label, verdict.paths) == ("stuck", NOTE, ("$CWD/app.lock",))
    assert "within 6 s" in verdict.evidence[0]


def test_a_lock_that_is_still_in_the_way_later_says_how_long_it_was_watched() -> None:
    tried = (Reset(removed=("/w/app.lock",), helped=True),)
    late = run("late", {NOTES: notes(1)}, end=End(how=EXITED, code=1))
    verdict = judge(refused(notes(1), resets=tried, late=late, late_s=20.0))
    assert verdict.label == DEFECT and "20 s later it still does not start" in verdict.evidence[0]


def test_a_lock_that_expires_by_a_clock_that_is_ahead_is_a_note() -> None:
    tried = (Reset(removed=("/w/app.lock",), helped=True),)
    late = run("late", {NOTES: notes(2)})
    verdict = judge(refused(notes(1), resets=tried, late=late, late_s=20.0, ahead_s=3600.0))
    assert (verdict.label, verdict.paths) == (NOTE, ("$CWD/app.lock",))
    assert verdict.evidence[0].endswith("within 3600 s, as a clock that is ahead shows")


def test_a_lock_that_stays_whatever_the_clock_says_is_a_defect_and_one_without_a_clock_a_note() -> None:
    tried = (Reset(removed=("/w/app.lock",), helped=True),)
    late = run("late", {NOTES: notes(1)}, end=End(how=EXITED, code=1))
    verdict = judge(refused(notes(1), resets=tried, late=late, late_s=20.0, ahead_s=86400.0))
    assert verdict.label == DEFECT and "nor with a clock that is 86400 s ahead" in verdict.evidence[0]
    verdict = judge(refused(notes(1), resets=tried, late=late, late_s=20.0, clock="it cannot be moved"))
    assert verdict.label == NOTE and "is not known: it cannot be moved" in verdict.evidence[0]


def test_what_had_to_be_put_back_is_corrupt() -> None:
    verdict = judge(refused(notes(1), resets=(Reset(put_back=("/w/notes.json",), helped=True),)))
    assert (verdict.consequence, verdict.paths) == ("corrupt", (NOTES,))


def test_what_was_only_moved_away_is_stuck() -> None:
    back = (Reset(put_back=("/w/notes.json",), helped=True),)
    moved, refusal = {"$CWD/notes.1": notes(1)}, End(how=EXITED, code=1)
    again = [run(phase, moved, end=refusal) for phase in ("restart", "restart again")]
    given = history("kill", (run("run", moved, end=End(how=KILLED)), *again), resets=back)
    assert judge(given).consequence == "stuck"
    assert judge(refused(None, resets=back)).consequence == "corrupt"


def test_the_smallest_reset_that_helps_is_named() -> None:
    both = Reset(removed=("/w/a", "/w/b"), put_back=("/w/notes.json",), helped=True)
    verdict = judge(refused(notes(1), resets=(both, Reset(removed=("/w/a",), helped=True))))
    assert verdict.paths == ("$CWD/a",)


def test_where_no_reset_helps_the_way_it_ends_decides() -> None:
    crash = End(how=SIGNALED, signal=11)
    late = End(how=DEADLINE, elapsed_s=9.0)
    assert judge(restarted(crash, crash)).consequence == "crashed"
    assert judge(restarted(late, late)).consequence == "hung"
    failing = judge(restarted(End(how=EXITED, code=3), End(how=EXITED, code=3)))
    assert (failing.outcome, failing.consequence) == (FAILED, "corrupt")
    assert "exit status 3" in failing.evidence[0]


def test_a_slow_restart_is_a_note() -> None:
    verdict = judge(restarted(End(how=EXITED, elapsed_s=9.0)))
    assert verdict.outcome == PASSED and "90 times as long" in verdict.note


def test_a_program_that_refuses_a_second_run_is_not_judged() -> None:
    assert judge(refused(notes(1)), calibration(refuses_rerun=True)).outcome == PASSED
