"""All oracles together: one verdict per file, muting, and oracles that crash."""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import History, Reset
from blackstart.core.verdict import FAILED, UNKNOWN, Verdict
from blackstart.oracles import JOB_ORACLES, judge_all
from tests.unit.oracles.build import NOTES, calibration, file, history, killed, notes, refused, run


def failing(given: History, yardstick: Calibration | None = None) -> list[Verdict]:
    return [v for v in judge_all(given, yardstick or calibration()) if v.outcome == FAILED]


def test_a_damaged_file_that_blocks_the_restart_is_one_finding() -> None:
    reset = Reset(put_back=("/w/notes.json",), helped=True)
    (verdict,) = failing(refused(file(b'{"no'), resets=(reset,), stdout=b"saved note 2\n"))
    assert (verdict.oracle, verdict.consequence, verdict.paths) == ("state", "corrupt", (NOTES,))
    assert any("has its last legal content back" in text for text in verdict.evidence)


def test_a_lock_and_a_lost_file_are_two_findings() -> None:
    reset = Reset(removed=("/w/app.lock",), helped=True)
    (verdict,) = failing(refused(notes(1), resets=(reset,)))
    assert (verdict.oracle, verdict.consequence) == ("restart", "stuck")


def test_unsaved_work_that_was_reported_as_saved_is_silent_and_nothing_else() -> None:
    first = run("run", {NOTES: notes(1)}, stdout=b"saved note 2\n")
    (verdict,) = failing(history("errno", (first, run("restart", {NOTES: notes(2)}))))
    assert (verdict.oracle, verdict.consequence) == ("end", "silent")


def test_a_muted_oracle_says_unknown_and_what_it_found() -> None:
    muted = calibration(muted={"state": "it failed on a null trial"})
    verdicts = {v.oracle: v for v in judge_all(killed(None, None), muted)}
    assert verdicts["state"].outcome == UNKNOWN and "it found: lost" in verdicts["state"].why


def test_a_null_trial_is_judged_as_any_other() -> None:
    null = history("null", (run("run", {NOTES: notes(1)}, stdout=b"saved note 2\n"), run("restart", {NOTES: notes(2)})))
    assert [v.oracle for v in judge_all(null, calibration()) if v.outcome == FAILED] == ["end"]


def test_a_crashed_oracle_is_unknown() -> None:
    def crash(_: History, __: Calibration) -> tuple[Verdict, ...]:
        raise ZeroDivisionError("no such thing")

    verdicts = judge_all(killed(notes(1), notes(2)), calibration(), {**JOB_ORACLES, "state": crash})
    (verdict,) = [v for v in verdicts if v.oracle == "state"]
    assert verdict.outcome == UNKNOWN and "ZeroDivisionError" in verdict.why
