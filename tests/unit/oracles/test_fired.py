"""`fired`: a fault that did not reach the target is never a pass."""

from __future__ import annotations

from typing import Any

from blackstart.core.history import Injected
from blackstart.core.verdict import PASSED, UNKNOWN, Verdict
from blackstart.oracles import fired, judge_all
from tests.unit.oracles.build import NOTES, calibration, history, notes, run, write


def judge(**changes: Any) -> Verdict:
    given = history("errno", (run("run", {NOTES: notes(2)}),), **changes)
    (verdict,) = fired.judge(given, calibration())
    return verdict


def test_a_fault_that_acted_where_it_was_planned_passes() -> None:
    assert judge().outcome == PASSED
    assert judge(injected=(Injected(fault="f", kind="errno", fired=1),)).outcome == PASSED


def test_a_fault_that_did_not_act_is_unknown_with_the_reason() -> None:
    verdict = judge(injected=(Injected(fault="EIO on write", kind="errno", hits=2, note="the call was never made"),))
    assert verdict.outcome == UNKNOWN and "the call was never made" in verdict.why
    assert "none of 2 calls" in judge(injected=(Injected(fault="f", kind="errno", hits=2),)).why
    assert judge(injected=()).outcome == UNKNOWN


def test_drift_is_unknown() -> None:
    drifted = Injected(fault="f", kind="errno", fired=1, matched=False, operation=write())
    assert "drifted" in judge(injected=(drifted,)).why


def test_one_of_two_faults_is_not_enough() -> None:
    both = (Injected(fault="a", kind="errno", fired=1), Injected(fault="b", kind="errno"))
    assert judge(injected=both).outcome == UNKNOWN


def test_what_the_sandbox_could_not_do_is_unknown() -> None:
    assert "no space" in judge(trouble="no space for the image").why


def test_nothing_else_is_judged_where_the_fault_did_not_fire() -> None:
    given = history("kill", (run("run", {NOTES: None}), run("restart", {NOTES: None})), injected=())
    assert [v.oracle for v in judge_all(given, calibration())] == ["fired"]


def test_a_null_trial_needs_no_fault() -> None:
    given = history(
        "null", (run("run", {NOTES: notes(2)}, stdout=b"saved note 2\n"), run("restart", {NOTES: notes(3)}))
    )
    assert {v.outcome for v in judge_all(given, calibration())} == {PASSED}
