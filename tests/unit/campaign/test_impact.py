"""What users of a service saw, from histories made by hand.

covers: G-8
"""

from __future__ import annotations

import msgspec
import pytest

from blackstart.campaign.impact import MEASURED, impacts, sample, wants_measure
from blackstart.core.history import KILLED, STOPPED, Act, End, History, Injected, Life, Run
from blackstart.core.verdict import failed

ACTS = tuple(
    Act(how=how, id=str(k), at_s=at_s, latency_ms=latency)
    for k, (how, at_s, latency) in enumerate(
        [("ok", 0.2, 1.0), ("ok", 0.3, 3.0), ("info", 1.2, 900.0), ("ok", 2.5, 2.0)]
    )
)


def history(*, again_s: float = 2.1, killed: bool = False, ready_s: float = 0.4, fired: int = 1) -> History:
    life = Life(ready_s=0.1, acts=ACTS, fired_s=1.0, healed_s=-1.0 if killed else 2.0, again_s=again_s, stop_s=7.0)
    first = Run(phase="run", end=End(how=KILLED if killed else STOPPED, elapsed_s=7.0), life=life)
    again = Run(phase="restart", end=End(how=STOPPED, elapsed_s=9.0), life=Life(ready_s=ready_s))
    return History(
        start="S0", kind="errno", injected=(Injected(fault="f", kind="errno", fired=fired),), runs=(first, again)
    )


def test_answers_count_before_during_and_after_the_fault() -> None:
    taken = sample(history())
    assert taken is not None
    served = impacts({"errno": [taken]})[0].served
    assert [(s.when, s.asked, s.answered) for s in served] == [("before", 2, 2), ("during", 1, 0), ("after", 1, 1)]
    assert (served[0].p50_ms, served[0].p99_ms, served[1].p99_ms) == (1.0, 3.0, -1.0)


def test_recovery_counts_from_injection_and_from_healing() -> None:
    taken = [one for one in (sample(history()), sample(history(again_s=-1.0))) if one]
    injection, healing = impacts({"errno": taken})[0].recoveries
    assert (injection.since, injection.recovered, injection.trials) == ("injection", 1, 2)
    assert injection.median_s == pytest.approx(1.1) and healing.median_s == pytest.approx(0.1)
    assert healing.watched_s == pytest.approx(5.0) and healing.curve[0][1] == pytest.approx(0.5)


def test_one_that_was_never_well_again_does_not_look_fast() -> None:
    taken = [one for one in [sample(history(again_s=-1.0))] * 3 + [sample(history())] if one]
    assert impacts({"errno": taken})[0].recoveries[1].median_s == -1.0


def test_one_that_is_ready_and_dead_was_never_well_again() -> None:
    taken = sample(history(), (failed("alive", "dead", "what it did each second does not come again"),))
    assert taken is not None and taken.since_healing == (5.0, False) and taken.since_injection == (6.0, False)
    assert sample(history(), (failed("state", "lost", "a line"),)) == sample(history())


@pytest.mark.parametrize(("ready_s", "expected"), [(0.4, (0.4, True)), (-1.0, (9.0, False))])
def test_after_a_kill_the_restart_is_the_healing(ready_s: float, expected: tuple[float, bool]) -> None:
    taken = sample(history(killed=True, ready_s=ready_s))
    assert taken is not None and taken.since_injection is None and taken.since_healing == expected


def test_a_job_and_a_fault_that_did_not_act_tell_nothing() -> None:
    assert sample(history(fired=0)) is None
    assert sample(History(start="S0", kind="kill", runs=(Run(phase="run", end=End(how=KILLED)),))) is None


def early() -> History:
    """The workload had ended before the fault was healed."""
    told = history()
    assert told.runs[0].life is not None
    life = msgspec.structs.replace(told.runs[0].life, acts=ACTS[:3])
    return msgspec.structs.replace(told, runs=(msgspec.structs.replace(told.runs[0], life=life), told.runs[1]))


def measured(told: History, phase: int = 0) -> History:
    """The same where that start was used once more when all was well again."""
    run = told.runs[phase]
    assert run.life is not None
    again = msgspec.structs.replace(run, life=msgspec.structs.replace(run.life, after=ACTS[:2]))
    return msgspec.structs.replace(told, runs=(*told.runs[:phase], again, *told.runs[phase + 1 :]))


def test_a_few_trials_more_use_the_service_again_where_nothing_was_asked_after_healing() -> None:
    known = [one for one in (sample(early()),) if one]
    assert wants_measure(known, 0) and not wants_measure([], 0)
    assert impacts({"errno": known})[0].not_measured and impacts({"errno": known})[0].served[2].asked == 0
    for _ in range(MEASURED):
        known += [one for one in (sample(measured(early())),) if one]
    known += [one for one in (sample(early()),) if one]
    assert wants_measure(known, MEASURED - 1) and not wants_measure(known, MEASURED), "enough is known"
    told = impacts({"errno": known})[0]
    assert (told.served[2].asked, told.served[2].answered) == (2 * MEASURED, 2 * MEASURED) and not told.not_measured


def test_after_a_kill_the_restarted_one_is_used_again() -> None:
    taken = sample(measured(history(killed=True), phase=1))
    assert taken is not None and taken.served[2].asked == 2


def test_a_workload_that_cannot_be_run_twice_measures_nothing() -> None:
    known = [one for one in (sample(early()),) if one]
    assert "second run" in impacts({"errno": known}, repeats=False)[0].not_measured
