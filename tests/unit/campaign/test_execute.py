"""Many trials on several workers, without workers: what is done, in which order, and when it ends."""

from __future__ import annotations

from collections import deque
from concurrent.futures.process import BrokenProcessPool

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.campaign.execute import Queue, Task, each
from blackstart.campaign.worker import Outcome
from blackstart.core.errors import SandboxLimit, Undecided
from blackstart.trials import Plan

from .build import FakeExecutor, outcome, plan


def tasks(*paths: str, why: str = "trial") -> list[Task]:
    return [Task(plan(path), why) for path in paths]


def paths(plans: list[Plan]) -> list[str]:
    return [str(one.faults[0]).split()[3] for one in plans]


def queue(others: list[Task], urgent: list[Task] | None = None) -> Queue:
    return Queue(urgent=deque(urgent or []), others=deque(others))


def test_urgent_tasks_go_first_and_are_done_in_any_case() -> None:
    waiting = queue(tasks("b"), tasks("a"))
    first = waiting.take(is_spent=True)
    assert first is not None
    assert paths([first.plan]) == ["a"]
    assert waiting.take(is_spent=True) is None
    assert waiting.take(is_spent=False) is not None
    assert waiting.take(is_spent=False) is None


@given(st.integers(0, 12), st.integers(1, 4))
def test_each_task_is_done_once_and_never_more_than_jobs_at_once(count: int, jobs: int) -> None:
    executor = FakeExecutor(outcome)
    todo = tasks(*(f"p{number}" for number in range(count)))
    done = [task for task, _ in each(executor, queue(todo), jobs, lambda: False)]
    assert sorted(map(id, done)) == sorted(map(id, todo))
    assert paths(executor.plans) == [f"p{number}" for number in range(count)]
    assert executor.running_max <= jobs


def test_a_spent_budget_leaves_the_rest_in_the_queue() -> None:
    executor = FakeExecutor(outcome)
    waiting = queue(tasks("a", "b", "c", "d"))
    done: list[Task] = []
    for task, _ in each(executor, waiting, 1, lambda: len(done) >= 2):
        done.append(task)
    assert (len(done), len(waiting.others)) == (2, 2)


def test_a_repetition_that_is_asked_for_meanwhile_goes_before_the_rest() -> None:
    executor = FakeExecutor(outcome)
    waiting = queue(tasks("a", "b", "c"))
    for task, _ in each(executor, waiting, 1, lambda: False):
        if paths([task.plan]) == ["a"] and task.why == "trial":
            waiting.urgent.extend(tasks("again", why="repeat"))
    assert paths(executor.plans) == ["a", "again", "b", "c"]


def test_each_task_is_told_before_it_begins() -> None:
    told: list[str] = []

    def answer(of: Plan) -> Outcome:
        assert paths([of])[0] in told
        return outcome(of)

    executor = FakeExecutor(answer)
    list(each(executor, queue(tasks("a", "b")), 2, lambda: False, lambda task: told.extend(paths([task.plan]))))
    assert told == ["a", "b"]


def test_what_is_not_done_when_all_patience_is_at_its_end_is_given_up() -> None:
    executor = FakeExecutor(outcome, held=True)
    left_s = iter((1.0, 1.0, 0.0))
    waiting = queue(tasks("a"), tasks("b", why="repeat"))
    assert list(each(executor, waiting, 1, lambda: True, left_s=lambda: next(left_s, 0.0))) == []
    assert paths(executor.plans) == ["b"]


def test_no_urgent_task_begins_after_all_patience_is_at_its_end() -> None:
    executor = FakeExecutor(outcome)
    assert list(each(executor, queue([], tasks("b")), 1, lambda: True, left_s=lambda: -1.0)) == []
    assert executor.plans == []


def test_a_worker_that_was_ended_from_outside_is_told_with_the_next_step() -> None:
    def answer(of: Plan) -> Outcome:
        raise BrokenProcessPool("abruptly")

    with pytest.raises(Undecided, match="ended from outside") as caught:
        list(each(FakeExecutor(answer), queue(tasks("a")), 1, lambda: False))
    assert caught.value.exit_status == 3
    assert "-j 1" in caught.value.next_step


def test_the_trouble_of_a_worker_is_told_as_it_was() -> None:
    def answer(of: Plan) -> Outcome:
        raise SandboxLimit("no room", next_step="make room")

    with pytest.raises(SandboxLimit, match="no room") as caught:
        list(each(FakeExecutor(answer), queue(tasks("a")), 1, lambda: False))
    assert caught.value.next_step == "make room"
