"""Campaigns without processes: an executor that answers from a table, histories and verdicts made by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, ClassVar

from blackstart.campaign.campaign import Campaign
from blackstart.campaign.execute import Task
from blackstart.campaign.observe import Observation
from blackstart.campaign.worker import Outcome
from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.clock import ManualClock
from blackstart.core.history import End, History, Injected, Run
from blackstart.core.options import Options
from blackstart.core.trace import Operation
from blackstart.core.verdict import Verdict, passed
from blackstart.faults import Candidate
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point
from blackstart.report.progress import SilentProgress
from blackstart.surface import Surface
from blackstart.trials import Plan

Answer = Callable[[Plan], Outcome]


class FakeExecutor(Executor):
    """Answers each plan at once, or, with `held`, only when `release` is called."""

    def __init__(self, answer: Answer, *, held: bool = False) -> None:
        self.answer = answer
        self.held = held
        self.plans: list[Plan] = []
        self.waiting: deque[tuple[Future[Outcome], Plan]] = deque()
        self.running_max = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        plan: Plan = args[0]
        self.plans.append(plan)
        future: Future[Outcome] = Future()
        self.waiting.append((future, plan))
        self.running_max = max(self.running_max, len(self.waiting))
        if not self.held:
            self.release()
        return future

    def release(self) -> None:
        future, plan = self.waiting.popleft()
        try:
            future.set_result(self.answer(plan))
        except BaseException as error:
            future.set_exception(error)


class Remembering:
    """Keeps tasks and what was found, in order."""

    def __init__(self) -> None:
        self.plans: list[Task] = []
        self.done_tasks: list[Task] = []
        self.causes: list[str] = []

    def planned(self, task: Task) -> None:
        self.plans.append(task)
        task.number = len(self.plans)

    def done(self, task: Task, outcome: Outcome) -> None:
        self.done_tasks.append(task)

    def found(self, cause: str, known: Any) -> None:
        self.causes.append(cause)


def plan(path: str = "$CWD/a", kind: str = "kill", nth: int = 1) -> Plan:
    return Plan(kind=kind, start="S1", faults=(Kill(point=Point(call="write", path=path, nth=nth)),))


def candidate(path: str = "$CWD/a", nth: int = 1) -> Candidate:
    fault = Kill(point=Point(call="write", path=path, nth=nth))
    return Candidate(fault=fault, start="S1", rank=(0, 0), cause=("kill", path), path=path)


def history(of: Plan) -> History:
    faults = [fault for fault in of.faults if isinstance(fault, Kill)]
    injected = tuple(
        Injected(
            fault=str(fault), kind=of.kind, hits=1, fired=1,
            operation=Operation(index=1, call="write", masked=fault.point.path, kind="file"),
        )
        for fault in faults
    )  # fmt: skip
    return History(start=of.start, kind=of.kind, injected=injected, runs=(Run(phase="run", end=End(how="exited")),))


def outcome(of: Plan, *verdicts: Verdict) -> Outcome:
    return Outcome(history=history(of), verdicts=verdicts or (passed("fired"), passed("state")))


CALIBRATION = Calibration(chain=tuple(CleanRun(start=f"S{k}", code=0, elapsed_s=0.1) for k in range(3)), slowest_s=0.1)


class NoZygote:
    """Names and roots of images, and nothing behind them."""

    plan: ClassVar = {"made": []}

    def names(self) -> tuple[str, ...]:
        return ("S0", "S1", "S2", "S3")

    def root(self, name: str) -> str:
        return f"/root/{name}"


class NoBench:
    """Commands only."""

    command = None
    check = None
    service = None
    companions = ()


def observation(calibration: Calibration = CALIBRATION) -> Observation:
    return Observation(
        layout=None,  # type: ignore[arg-type]
        zygote=NoZygote(),  # type: ignore[arg-type]
        bench=NoBench(),  # type: ignore[arg-type]
        calibration=calibration,
        surface=Surface(),
        clean_runs=9,
    )


def campaign(**options: Any) -> tuple[Campaign, ManualClock, Remembering]:
    clock, keep = ManualClock(), Remembering()
    given = Options(command=("x",), cwd="/w", **{"jobs": 1, **options})
    return Campaign(given, SilentProgress(), keep, clock), clock, keep


@contextmanager
def as_workers(executor: FakeExecutor) -> Iterator[FakeExecutor]:
    yield executor
