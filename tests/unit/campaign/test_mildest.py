"""A finding shows the mildest of the trials that failed with its cause, once that one has failed again."""

from __future__ import annotations

from collections import deque
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import msgspec
import pytest

from blackstart.campaign import mildest as module
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.execute import Task
from blackstart.campaign.mildest import harm, postponed, soften
from blackstart.campaign.tally import Suspicion
from blackstart.core.errors import SandboxUnavailable
from blackstart.core.history import Injected
from blackstart.core.trace import Operation
from blackstart.core.verdict import failed, passed
from blackstart.faults.disk import Full
from blackstart.faults.errno import Errno
from blackstart.faults.kill import Kill
from blackstart.faults.limit import SIZE, Limit
from blackstart.faults.point import Point
from blackstart.findings import Failure, cause_of
from blackstart.trials import Plan

from .build import FakeExecutor, as_workers, campaign, history, outcome, plan

LOST = failed("state", "lost", "two notes are gone", paths=("$CWD/a",))
POINT = Point(call="write", path="$CWD/a", nth=1)


@pytest.mark.parametrize(
    ("milder", "worse"),
    [
        ([Errno(point=POINT, error="EIO")], [Errno(point=POINT, error="EIO", persistent=True)]),
        ([Full(point=POINT, freed=True)], [Full(point=POINT)]),
        ([Full(point=POINT, room=8192)], [Full(point=POINT)]),
        ([Limit(what=SIZE, most=99)], [Limit(what=SIZE, most=50)]),
        ([Kill(point=POINT)], [Kill(point=POINT), Errno(point=POINT, error="EIO", phase="restart")]),
    ],
)
def test_what_is_milder(milder: list[Any], worse: list[Any]) -> None:
    first, second = (Plan(kind="x", start="S0", faults=tuple(faults)) for faults in (milder, worse))
    assert harm(first) < harm(second)


def test_a_kill_is_shown_before_all_else() -> None:
    kill = Plan(kind="kill", start="S0", faults=(Kill(point=POINT),))
    for kind, fault in (("limit", Limit(what=SIZE, most=99)), ("errno", Errno(point=POINT, error="EIO"))):
        assert harm(kill) < harm(Plan(kind=kind, start="S0", faults=(fault,)))


def test_faults_that_stay_come_last_once_one_has_made_it_retry_without_end() -> None:
    stays, passes = (
        Plan(kind="errno", start="S0", faults=(Errno(point=POINT, error="EIO", persistent=stays),))
        for stays in (True, False)
    )
    null = Plan(kind="null", start="S0", faults=())
    tasks = deque([Task(stays, "trial"), Task(null, "null"), Task(passes, "trial"), Task(stays, "repeat")])
    after = [(task.plan, task.why) for task in postponed(tasks, stays)]
    assert after == [(null, "null"), (passes, "trial"), (stays, "repeat"), (stays, "trial")]
    assert postponed(tasks, passes) is tasks


def suspected(first: Plan, *others: Plan) -> tuple[Campaign, Suspicion, str]:
    """A campaign that has confirmed one cause, seen with these plans."""
    made, _, _ = campaign()
    failure = Failure(trial="7", history=history(first), verdict=LOST)
    known = Suspicion(first, [failure], plans=[first, *others], repeats=[True, True], asked=2)
    made.tally.suspicions[cause_of(failure)] = known
    return made, known, cause_of(failure)


@pytest.mark.parametrize("fails_again", [True, False])
def test_a_milder_one_takes_over_only_if_it_fails_again(fails_again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    worse, milder = (
        Plan(kind="errno", start="S0", faults=(Errno(point=POINT, error="EIO", persistent=stays),))
        for stays in (True, False)
    )
    made, known, _ = suspected(worse, milder)
    executor = FakeExecutor(lambda of: outcome(of, LOST if fails_again else passed("state")))
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(executor))
    soften(made, None)  # type: ignore[arg-type]
    assert executor.plans == [milder]
    assert known.plan == (milder if fails_again else worse)
    assert len(known.failures) == 1 + fails_again


@pytest.mark.parametrize("trouble", [BrokenProcessPool("ended"), SandboxUnavailable("no memory is left")])
def test_a_worker_that_cannot_try_costs_no_finding(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    worse, milder = (
        Plan(kind="errno", start="S0", faults=(Errno(point=POINT, error="EIO", persistent=stays),))
        for stays in (True, False)
    )

    def ended(of: Plan) -> Any:
        raise trouble

    made, known, cause = suspected(worse, milder)
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(FakeExecutor(ended)))
    soften(made, None)  # type: ignore[arg-type]
    assert (known.plan, list(made.tally.suspicions)) == (worse, [cause])


def test_a_second_crash_in_the_recovery_is_a_finding_where_one_crash_does_nothing() -> None:
    crash = plan()
    twice = msgspec.structs.replace(crash, faults=(*crash.faults, Kill(point=POINT, phase="restart")))
    made, _, cause = suspected(twice)
    soften(made, None)  # type: ignore[arg-type]
    assert list(made.tally.suspicions) == [cause]  # it has the cause of the crash alone, which did no harm


def test_what_a_fault_alone_does_is_no_finding_of_a_recovery() -> None:
    def injected(*faults: Any) -> tuple[Injected, ...]:
        operation = Operation(index=1, call="write", masked="$CWD/a", kind="file")
        return tuple(Injected(fault=str(one), kind=one.kind, fired=1, operation=operation) for one in faults)

    alone = Plan(kind="errno", start="S1", faults=(Errno(point=POINT, error="EIO"),))
    late = Plan(kind="errno", start="S1", faults=(Kill(point=POINT), Errno(point=POINT, error="EIO", phase="restart")))
    told = {one: msgspec.structs.replace(history(plan()), kind="errno", injected=injected(*one.faults))
            for one in (alone, late)}  # fmt: skip
    made, _, _ = campaign()
    for one, seen in told.items():
        failure = Failure(trial="7", history=seen, verdict=LOST)
        assert made.tally.is_explained(one, failure) == (one is late)
        made.tally.suspicions[cause_of(failure)] = Suspicion(one, [failure], plans=[one])


def test_the_stack_is_that_of_the_trial_which_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    worse, milder = (
        Plan(kind="errno", start="S0", faults=(Errno(point=POINT, error="EIO", persistent=stays),))
        for stays in (True, False)
    )
    made, known, _ = suspected(worse, milder)
    known.stack = ("a.c:other:1",)

    def answer(of: Plan) -> Any:
        told = outcome(of, LOST)
        operation = Operation(index=1, call="write", masked="$CWD/a", site=("/w/a:save:0",))
        stack = ("/w/a.c:save:7",) if of.stacks else ()
        acted = Injected(fault="x", kind="errno", fired=1, operation=operation, stack=stack)
        return msgspec.structs.replace(told, history=msgspec.structs.replace(told.history, injected=(acted,)))

    executor = FakeExecutor(answer)
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(executor))
    monkeypatch.setattr(module, "failing_again", lambda campaign, known, told, cause: Failure(
        trial="8", history=told.history, verdict=LOST))  # fmt: skip
    soften(made, None)  # type: ignore[arg-type]
    assert [one.stacks for one in executor.plans] == [False, True]
    assert known.plan == milder and known.stack == ("/w/a.c:save:7",)


def test_what_a_crash_alone_does_is_no_finding_of_its_recovery() -> None:
    crash = plan()
    made, _, cause = suspected(crash)
    late = msgspec.structs.replace(
        crash, kind="errno", faults=(*crash.faults, Errno(point=POINT, error="EIO", phase="restart"))
    )
    failure = Failure(trial="8", history=history(late), verdict=LOST)
    assert cause_of(failure) != cause
    made.tally.suspicions[cause_of(failure)] = Suspicion(late, [failure], plans=[late], repeats=[True, True], asked=2)
    soften(made, None)  # type: ignore[arg-type]
    assert list(made.tally.suspicions) == [cause]
