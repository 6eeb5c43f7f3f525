"""What a trial gives rise to besides repetitions: few of each sort, and each sort once.

covers: G-8
"""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from blackstart.campaign import more, rounds
from blackstart.campaign.budget import Budget
from blackstart.campaign.execute import Task, Why
from blackstart.campaign.impact import Answers, Sample
from blackstart.campaign.tally import Tally
from blackstart.campaign.worker import Outcome
from blackstart.core.clock import Clock
from blackstart.core.history import EXITED, STOPPED, Act, End, Handler, History, Injected, Life, Run
from blackstart.core.trace import Operation
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point
from blackstart.trials import Plan


class Standing:
    """A clock that shows a hundred seconds after its start."""

    now_s = -100.0

    def monotonic(self) -> float:
        self.now_s += 100.0 if self.now_s < 100 else 0.0
        return self.now_s


def budget(total_s: float = 1000.0) -> Budget:
    return Budget(total_s, cast(Clock, Standing()))


def plan(path: str = "$CWD/notes.json", nth: int = 1) -> Plan:
    return Plan(kind="kill", start="S1", faults=(Kill(point=Point(call="write", path=path, nth=nth)),))


def outcome(suspicion: str = "", handlers: tuple[Handler, ...] = ()) -> Outcome:
    called = Operation(index=0, call="write", path="/w/notes.json", site=("/w/notes.py:save:7",))
    injected = (Injected(fault="kill", kind="kill", fired=1, operation=called),)
    history = History(start="S1", kind="kill", injected=injected, handlers=handlers)
    return Outcome(history=history, verdicts=(), suspicion=suspicion)


def why(found: list[Task]) -> list[str]:
    return [task.why for task in found]


def test_what_may_add_up_is_tried_again_once_and_only_where_there_is_time() -> None:
    tally = Tally(is_tracing=True)
    first = list(more.tasks(Task(plan(), "trial"), outcome("files a"), tally, budget()))
    assert why(first) == ["confirm"] and first[0].plan.rounds == rounds.ROUNDS
    assert not list(more.tasks(Task(plan(), "trial"), outcome("files a"), tally, budget()))
    assert not list(more.tasks(Task(plan(), "trial", took_s=60.0), outcome("files b"), tally, budget()))
    assert tally.postponed == {"files b": 3840.0}, "what was not tried for want of time is told"
    assert list(more.tasks(Task(plan(), "trial"), outcome("files b"), tally, budget())) and not tally.postponed


def test_the_tracer_begins_with_a_null_trial_and_stops_where_there_is_nothing_to_trace() -> None:
    tally = Tally()
    first = list(more.tasks(Task(plan(), "trial"), outcome(), tally, budget()))
    assert why(first) == ["trace"] and first[0].plan.kind == "null" and not first[0].plan.faults
    assert not list(more.tasks(Task(plan(), "trial"), outcome(), tally, budget()))


def test_each_sort_of_fault_is_traced_once_for_a_share_of_the_time() -> None:
    tally = Tally(is_tracing=True)
    tally.met(msgspec.structs.replace(outcome().history, handlers=(Handler(path="a.py", line=3, what="finally"),)), 1.0)
    for nth in (1, 2):
        found = list(more.tasks(Task(plan(nth=nth), "trial"), outcome(), tally, budget()))
        assert why(found) == (["trace"] if nth == 1 else [])
    tally.traced_s = 90.0
    assert not list(more.tasks(Task(plan("$CWD/other"), "trial"), outcome(), tally, budget()))
    assert tally.handlers == {("a.py", 3, "finally"): False}


def test_what_a_trial_under_the_tracer_met_is_noted_and_leads_to_the_next_one() -> None:
    entered = Handler(path="/w/notes.py", line=9, what="except OSError", ran=True)
    tally = Tally(is_tracing=True, untraced={"kill": plan()})
    tracing = Task(plan(), Why.TRACE, took_s=1.5)
    found = list(more.taken(tracing, outcome(handlers=(entered,)), tally, budget()))
    assert why(found) == ["trace"] and tally.traced == {"kill"} and not tally.untraced
    assert tally.traced_s == 1.5 and tally.handlers == {("/w/notes.py", 9, "except OSError"): True}
    assert not list(more.taken(tracing, outcome(), tally, budget())), "all sorts are traced"


def test_what_it_cost_the_users_after_healing_is_a_sample_and_leads_to_nothing() -> None:
    life = Life(ready_s=0.1, fired_s=0.5, healed_s=1.0, stop_s=3.0, after=(Act(how="ok", id="1"),))
    served = Run(phase="run", end=End(how=STOPPED), life=life)
    acted = outcome().history
    measured = Outcome(history=msgspec.structs.replace(acted, runs=(served,)), verdicts=())
    tally = Tally(is_tracing=True, untraced={"kill": plan()})
    assert not list(more.taken(Task(plan(), Why.MEASURE), measured, tally, budget()))
    assert [one.served[2].answered for one in tally.samples["kill"]] == [1] and tally.untraced


def test_a_damaged_file_is_traced_too_though_no_call_was_broken() -> None:
    tally = Tally(is_tracing=True)
    tally.met(msgspec.structs.replace(outcome().history, handlers=(Handler(path="a.py", line=3, what="finally"),)), 1.0)
    damaged = Outcome(history=History(start="S1", kind="file"), verdicts=(), suspicion="")
    assert why(list(more.tasks(Task(plan(), "trial"), damaged, tally, budget()))) == ["trace"]


@pytest.mark.parametrize(
    ("kind", "suspicion", "again"),
    [
        ("errno", "threads errno $CWD/a", True),
        ("limit", "threads limit ", False),
        ("limit", "files $CWD/*.tmp", True),
    ],
)
def test_what_a_living_service_holds_is_counted_over_rounds_within_one_start_only(
    kind: str, suspicion: str, again: bool
) -> None:
    runs = (Run(phase="run", end=End(how=STOPPED), life=Life()),)
    held = Outcome(history=History(start="S0", kind=kind, runs=runs), verdicts=(), suspicion=suspicion)
    task = Task(msgspec.structs.replace(plan(), kind=kind), "trial")
    assert (rounds.wanted(task, held, Tally(), budget()) is not None) == again


@pytest.mark.parametrize(
    ("hows", "took_s", "how_ended", "insists"),
    [
        (("info", "info"), 0.1, STOPPED, True),
        (("fail", "info"), 0.1, STOPPED, True),
        (("info", "ok", "info"), 0.1, STOPPED, False),
        (("info", "fail"), 0.1, STOPPED, False),
        (("fail", "fail"), 0.1, STOPPED, False),
        (("fail", "fail"), 2.0, STOPPED, True),
        (("ok", "fail"), 2.0, STOPPED, False),
        ((), 0.1, STOPPED, False),
        (("info", "info"), 0.1, EXITED, False),
    ],
)
def test_a_service_that_answers_nobody_any_more_is_asked_again_after_healing_once(
    hows: tuple[str, ...], took_s: float, how_ended: str, insists: bool
) -> None:
    moments = [2.0 + took_s * (order + 1) for order in range(len(hows))]
    later = (Act(how=how, id="1", at_s=at_s) for how, at_s in zip(hows, moments, strict=True))
    acts = (Act(how="ok", id="0", at_s=1.0), *later)
    run = Run(phase="run", end=End(how=how_ended), life=Life(ready_s=0.5, fired_s=2.0, acts=acts))
    deaf = Outcome(history=History(start="S1", kind="kill", runs=(run,)), verdicts=(), suspicion="")
    for repeats in (True, False):
        tally = Tally(repeats=repeats)
        found = [task for task in more.tasks(Task(plan(), "trial"), deaf, tally, budget()) if task.why == "insist"]
        assert [task.plan.insists for task in found] == [True] * (insists and repeats)
        assert "insist" not in why(list(more.tasks(Task(plan(nth=2), "trial"), deaf, tally, budget())))


def test_a_service_is_used_once_more_after_healing_only_if_its_workload_is_known_to_repeat() -> None:
    ended_early = Sample(served=(Answers.of(()),) * 3)
    for repeats in (True, False):
        tally = Tally(repeats=repeats, samples={plan().kind: [ended_early]})
        found = why(list(more.tasks(Task(plan(), "trial"), outcome(), tally, budget())))
        assert ("measure" in found) == repeats, found
