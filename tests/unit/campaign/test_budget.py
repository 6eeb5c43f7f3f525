"""A run ends with its budget: nothing begins that does not fit, and what takes too long is given up."""

from __future__ import annotations

import math

import pytest

from blackstart.campaign.budget import GRACE_MIN_S, Budget, enough
from blackstart.core.clock import ManualClock
from blackstart.core.errors import Undecided


def budget(total_s: float, *trials_s: float) -> tuple[Budget, ManualClock]:
    clock = ManualClock()
    made = Budget(total_s, clock)
    for seconds in trials_s:
        made.took(seconds)
    return made, clock


def test_no_trial_begins_that_would_end_after_the_budget() -> None:
    made, clock = budget(60.0, 8.0, 9.0, 50.0)
    clock.sleep(50.0)
    assert not made.is_spent()
    clock.sleep(1.5)
    assert made.is_spent(), "9 s do not fit into 8.5 s"
    assert budget(60.0)[0].left_s() == 60.0


def test_one_more_trial_is_given_up_soon_and_a_repetition_after_one_patience() -> None:
    made, clock = budget(60.0, 9.0)
    clock.sleep(60.0)
    assert made.grace_s(50.0, is_awaited=False) == 9.0
    assert made.grace_s(50.0, is_awaited=True) == 50.0
    assert budget(0.0)[0].grace_s(50.0, is_awaited=False) == GRACE_MIN_S


def test_null_trials_beyond_those_that_there_must_be_end_with_the_part_of_calibration() -> None:
    made, clock = budget(60.0)
    clock.sleep(19.0)
    assert made.nulls_s(is_awaited=False) == 1.0 and made.nulls_s(is_awaited=True) == 41.0
    clock.sleep(2.0)
    assert made.nulls_s(is_awaited=False) < 0
    assert budget(math.inf)[0].nulls_s(is_awaited=False) == math.inf


@pytest.mark.parametrize(("seconds", "written"), [(0.2, "1s"), (89.0, "1m30s"), (119.0, "2m"), (1169.0, "20m")])
def test_a_budget_that_is_proposed_is_written_as_people_write_it(seconds: float, written: str) -> None:
    assert enough(seconds) == written


def test_what_must_not_outlast_it_is_told_when_it_is_over() -> None:
    made, clock = budget(60.0)
    clock.sleep(59.0)
    assert made.lasting_s() == 1.0
    clock.sleep(1.0)
    with pytest.raises(Undecided, match="calibration alone took 60 s, more than the budget"):
        made.lasting_s()


def test_waiting_for_a_lock_takes_no_more_than_half_of_what_is_left() -> None:
    made, clock = budget(120.0)
    assert made.late_s == 20.0
    clock.sleep(110.0)
    assert made.late_s == 5.0


def test_a_number_of_trials_is_never_spent() -> None:
    made, clock = budget(math.inf, 9.0)
    clock.sleep(1e6)
    assert not made.is_spent() and made.late_s == 30.0


def test_a_clean_run_that_would_outlast_the_budget_does_not_begin() -> None:
    made, clock = budget(60.0)
    for _ in range(2):
        made.begin_step(0.1)
        clock.sleep(25.0)
        made.end_step()
    with pytest.raises(Undecided, match="alone would take longer than the budget") as caught:
        made.begin_step(3 / 13)
    assert "--budget 11m" in str(caught.value), "what 13 runs would take, as a third of the whole"
    clock.sleep(20.0)
    with pytest.raises(Undecided, match="alone took 70 s, more than the budget"):
        made.must_last()


def test_a_recording_begins_in_the_first_half_only() -> None:
    made, clock = budget(60.0)
    clock.sleep(30.0)
    assert made.may_record()
    clock.sleep(0.5)
    assert not made.may_record()
    assert budget(math.inf)[0].may_record()
