"""What is known of a run so far: counts, causes that are suspected, and where trials are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from blackstart.campaign.execute import Task
from blackstart.campaign.impact import Sample, sample
from blackstart.campaign.worker import Outcome
from blackstart.core.history import History
from blackstart.core.verdict import DEFECT, FAILED, PASSED, UNKNOWN, Verdict
from blackstart.findings import Failure, Reproduction, cause_of, reproduction
from blackstart.report.points import Place
from blackstart.trials import Plan

NOT_FIRED = "not fired"


@dataclass
class Suspicion:
    """A cause that has failed once: its first failing trial, what else failed with it and where, and how its
    repetitions went; stack: where exactly the program was when the fault acted, as one more run told.
    """

    plan: Plan
    failures: list[Failure]
    plans: list[Plan] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)
    repeats: list[bool] = field(default_factory=list)
    asked: int = 0
    is_confirmed: bool = False
    found_s: float = 0.0
    stack: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As of the first failure."""
        return self.failures[0].verdict.label

    @property
    def reproduction(self) -> Reproduction:
        """2 of 2, or 3 of 5; what was watched for long enough once needs no more."""
        if self.is_confirmed:
            return Reproduction(failed=1, repeats=1, shown=True, more=0)
        return reproduction(self.repeats)

    @property
    def is_of_one_fault(self) -> bool:
        """Whether some trial showed it with no second fault: a crash in a recovery has the same cause as the crash."""
        return any(len(plan.faults) < 2 for plan in (self.plan, *self.plans))

    @property
    def wants_stack(self) -> bool:
        """Whether the frames at the fault are those of a native program: a guess, without lines."""
        operation = self.failures[0].operation
        return operation is not None and bool(operation.site) and all(f.endswith(":0") for f in operation.site)


@dataclass
class Tally:
    """Everything that the trials gave."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    places: dict[Place, dict[str, int]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    watched: set[tuple[str, str]] = field(default_factory=set)  # (call, path) of repeating waits
    leases: set[tuple[str, ...]] = field(default_factory=set)  # files that were seen to be locks with a time limit
    eased: dict[str, str] = field(default_factory=dict)  # the cause of a defect -> that of the note it turned out to be
    suspected: set[str] = field(default_factory=set)  # what was tried again and again, as it may add up
    postponed: dict[str, float] = field(default_factory=dict)  # what may add up -> the budget that trying it takes
    measures: Counter[str] = field(default_factory=Counter)  # trials by kind that use a service once more after healing
    insisted: set[str] = field(default_factory=set)  # sorts of faults after which a service answered nobody any more
    handlers: dict[tuple[str, int, str], bool] = field(default_factory=dict)  # (path, line, what) -> ever entered
    untraced: dict[str, Plan] = field(default_factory=dict)  # by sort of fault, the trial to be traced
    traced: set[str] = field(default_factory=set)  # the other sorts of faults
    traced_s: float = 0.0
    is_tracing: bool = False
    repeats: bool = False  # of the calibration, whose workload is run once more to measure only if it can be
    muted: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    appended: frozenset[str] = frozenset()  # files that clean runs only append to
    takes: bool = False  # whether clean runs take files away that they never write
    gaps: frozenset[str] = frozenset()  # files that clean runs remove before they rename a new one to that name
    kept: frozenset[str] = frozenset()  # files that hold something after each clean run
    nulls: int = 0
    null_failures: Counter[str] = field(default_factory=Counter)  # verdicts of null trials by oracle
    chosen: int = 0
    cut: int = 0
    calibration_s: float = 0.0
    elapsed_s: float = 0.0  # when the last trial had ended
    is_interrupted: bool = False
    lost: str = ""  # why no further trial could be done

    @property
    def total(self) -> int:
        """Trials that were done, without nulls and repetitions."""
        return sum(sum(of_kind.values()) for of_kind in self.counts.values())

    def failure(self, trial: str, outcome: Outcome, verdict: Verdict) -> Failure:
        """A failing verdict of a trial, with what is known of the files."""
        return Failure(
            trial=trial,
            history=outcome.history,
            verdict=verdict,
            appended=self.appended,
            takes=self.takes,
            gaps=self.gaps,
            kept=self.kept,
        )

    def is_explained(self, plan: Plan, failure: Failure) -> bool:
        """Whether the crash alone, or the fault that fell into recovery from it alone, is known to do the same."""
        if len(plan.faults) < 2:
            return False
        for fault, acted in zip(plan.faults, failure.history.injected, strict=False):
            history = msgspec.structs.replace(failure.history, kind=fault.kind, injected=(acted,))
            known = self.suspicions.get(cause_of(Failure(history=history, verdict=failure.verdict)))
            if known is not None and known.is_of_one_fault:
                return True
        return False

    def close(self, elapsed_s: float) -> None:
        """No further trial is done: what is left was cut."""
        self.cut = self.chosen - self.total
        self.elapsed_s = elapsed_s

    def count(self, place: Place, outcome: str, history: History, verdicts: Sequence[Verdict] = ()) -> None:
        """Count a trial's outcome for its kind and for its place, and what it did to those who use a service."""
        self.sampled(place.kind, history, verdicts)
        for counts in (self.counts.setdefault(place.kind, {}), self.places.setdefault(place, {})):
            counts[outcome] = counts.get(outcome, 0) + 1

    def met(self, history: History, took_s: float) -> None:
        """Note which handlers a trial under the tracer entered."""
        self.traced_s += took_s
        for one in history.handlers:
            key = (one.path, one.line, one.what)
            self.handlers[key] = self.handlers.get(key, False) or one.ran

    def null(self, verdicts: Sequence[Verdict]) -> None:
        """Note a null trial; an oracle that fails on one is muted."""
        self.nulls += 1
        for verdict in [verdict for verdict in verdicts if verdict.outcome == FAILED]:
            self.muted.setdefault(verdict.oracle, f"it fails without any fault: {'; '.join(verdict.evidence)}")
            self.null_failures[verdict.oracle] += 1

    def sampled(self, kind: str, history: History, verdicts: Sequence[Verdict] = ()) -> None:
        """Note what a trial of this kind did to those who use a service."""
        taken = sample(history, verdicts)
        if taken is not None:
            self.samples.setdefault(kind, []).append(taken)


def result_of(verdicts: list[Verdict]) -> str:
    """The outcome of a trial for the counts; a note or a policy is no failure."""
    if any(v.outcome == FAILED and v.label == DEFECT for v in verdicts):
        return FAILED
    if any(v.oracle == "fired" and v.outcome != PASSED for v in verdicts):
        return NOT_FIRED
    return UNKNOWN if any(v.outcome == UNKNOWN for v in verdicts) else PASSED


class Keep(Protocol):
    """Where trials are kept."""

    def planned(self, task: Task) -> None: ...
    def done(self, task: Task, outcome: Outcome) -> None: ...
    def found(self, cause: str, known: Suspicion) -> None: ...


class KeepNothing:
    """Nothing is kept; the reference implementation."""

    def planned(self, task: Task) -> None:
        """A trial is about to begin."""

    def done(self, task: Task, outcome: Outcome) -> None:
        """A trial ended."""

    def found(self, cause: str, known: Suspicion) -> None:
        """A defect was confirmed."""
