"""The main job: observe, choose, try, reproduce, group, report.

Data flows one way. A failing trial is repeated at once, before the rest of the budget is spent on others, and only what
reproduced becomes a finding. Ctrl-C ends the trying; what is known by then is reported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from blackstart import catalogue
from blackstart.campaign import apart, baseline, choose, ground, more, rounds
from blackstart.campaign.budget import Budget
from blackstart.campaign.execute import Queue, Task, Why, each, workers
from blackstart.campaign.mildest import postponed
from blackstart.campaign.observe import Observation, Observer
from blackstart.campaign.power import with_recordings
from blackstart.campaign.scout import scout
from blackstart.campaign.serving import companions_of, must_keep, patience_of, service_of
from blackstart.campaign.tally import Keep, KeepNothing, Suspicion, Tally, result_of
from blackstart.campaign.worker import Outcome, Workshop
from blackstart.core.calibration import Calibration
from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.errors import Undecided
from blackstart.core.options import KINDS, Options
from blackstart.core.randomness import Seed
from blackstart.core.verdict import DEFECT, FAILED, NOTE, POLICY, UNKNOWN, Verdict, passed
from blackstart.core.waiting import REPEATING
from blackstart.faults import AnyFault, Candidate
from blackstart.findings import Failure, cause_of, is_same
from blackstart.oracles import promises, unless_muted
from blackstart.oracles.growth import kept, only_appended, removed_first, taken_away
from blackstart.oracles.waits import CONFIRMED_S, WATCHED_S
from blackstart.power import model
from blackstart.report.points import place_of
from blackstart.report.progress import Progress
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Patience
from blackstart.trials import Plan
from blackstart.trials.outside import Outside

NULLS, NULLS_MIN = 10, 3
NULL_EVERY = 10
REPEATS = 2
# A little longer than the oracle asks for: looks are some way apart.
WATCH_MIN_S, WATCH_MAX_S = WATCHED_S + 1, CONFIRMED_S + 5


class Campaign:
    """One run of the main job on one target."""

    def __init__(self, options: Options, progress: Progress, keep: Keep | None = None, clock: Clock = SYSTEM) -> None:
        self.options = options
        self.progress = progress
        self.keep = keep or KeepNothing()
        self.clock = clock
        # A number of trials is given instead of a time.
        self.budget = Budget(math.inf if options.trials else options.budget_s, clock)
        self.seed = Seed(options.seed)
        self.jobs = options.jobs or max(1, len(os.sched_getaffinity(0)))
        self.tally = Tally()
        # Read first: a mistake in them is told before anything is run.
        self.scenarios = catalogue.load(options.scenarios)
        self.known = baseline.read(options.baseline) if options.baseline else {}
        self.kinds = options.only or KINDS

    def elapsed_s(self) -> float:
        return self.budget.elapsed_s()

    def observe(self, isolation: str, opened: tuple[str, ...], host: Mapping[str, str]) -> Observation:
        """Scout, then calibrate; the caller closes the observation's zygote."""
        for name in self.options.models:
            model(name)  # an unknown one is said before anything is done
        target = ground.command(self.options, host)
        check = ground.check_command(self.options, target)
        if isolation == LANDLOCK:
            # There is one place in which a target can run: one trial at a time.
            self.jobs = 1
            self._leave_out("power", "no power cuts: they need namespaces")
            self._leave_out("disk", "no full disks: they need namespaces, the disk being the machine's own without")
        service = service_of(self.options, target, check, isolation)
        companions = companions_of(self.options, target, isolation)
        if any(isinstance(one, Outside) for one in companions):
            self._leave_out("link", "no bad links: no link of ours leads to a peer outside")
        self.progress.phase("scouting")
        left_s, tell = self.budget.lasting_s, self.progress.note
        directories, made, service = scout(self.options, target, opened, isolation, service, companions, left_s, tell)
        layout = ground.layout(self.options, target, directories, opened, made)
        observer = Observer(layout, isolation, target, check, self.budget, service)
        observer.bench.companions = companions
        try:
            seen = observer.observe(self.progress)
            # The answers of a check while a run is under way are made of such a recording, too.
            asks = check is not None and "kill" in self.kinds and service is None
            if "power" in self.kinds or asks:
                starts, only = choose.starts(seen.calibration), self.options.only
                self._leave_out("power", with_recordings(seen, starts, self.options.models, self.budget, only))
            return seen
        except BaseException:
            observer.close()
            raise

    def _leave_out(self, kind: str, why: str) -> None:
        if why and kind in self.kinds:
            self.kinds = tuple(other for other in self.kinds if other != kind)
            self.progress.note(why)

    def shop(self, seen: Observation, isolation: str) -> Workshop:
        """What the workers need; the images are named by where the campaign's zygote shows them."""
        starts = choose.starts(seen.calibration)
        return Workshop(
            layout=seen.layout,
            tree=seen.zygote.plan,
            isolation=isolation,
            command=seen.bench.command,
            check=seen.bench.check,
            calibration=seen.calibration,
            images={name: seen.zygote.root(name) for name in starts},
            service=seen.bench.service,
            companions=seen.bench.companions,
        )

    def choose(self, seen: Observation) -> list[Candidate]:
        """The candidates in the order in which they are tried."""
        starts = choose.starts(seen.calibration)
        if seen.bench.companions:
            for what, why in apart.untouched(seen.calibration, self.kinds):
                seen.surface.uncovered.setdefault(what, why)
        seen.surface.uncovered.update(choose.later_only(seen.calibration, starts))
        found = choose.candidates(seen.calibration, self.kinds, starts, self.budget.choosing_s, notes=seen.notes)
        ordered = choose.order(found, starts)
        if self.options.only and not ordered:
            idle = seen.bench.service is not None and not self.options.workload
            work = "let something use it, as in --workload ./use.sh; or " if idle else ""
            raise Undecided(
                f"no trial of kind {', '.join(self.options.only)} is possible on this program",
                next_step=f"{work}leave --only out: `blackstart plan` then shows what it depends on, and all trials",
            )
        wanted = ordered[: self.options.trials] if self.options.trials else ordered
        self.tally.chosen, self.tally.cut = len(ordered), len(ordered) - len(wanted)
        return wanted

    def plan_of(self, candidate: Candidate, number: int, patience: Patience, rerun: bool) -> Plan:
        """The trial that tries this candidate."""
        return Plan(
            kind=candidate.fault.kind,
            start=candidate.start,
            faults=_faults_of(candidate),
            patience=patience,
            rerun=rerun,
            seed=self.seed.child("trial", number).number,
        )

    def calibrate_nulls(self, seen: Observation, shop: Workshop) -> Calibration:
        """Ten null trials as the workers do them; an oracle that fails on one is muted."""
        starts = choose.starts(seen.calibration)
        patience = patience_of(seen.calibration)
        rerun = not seen.calibration.refuses_rerun
        queue = Queue()
        for number in range(NULLS):
            start = starts[number % len(starts)]
            plan = Plan(kind="null", start=start, patience=patience, rerun=rerun)
            (queue.urgent if number < NULLS_MIN else queue.others).append(Task(plan, Why.NULL))
        self.progress.phase("null trials")
        queue.urgent.extend(Task(plan, Why.CONTROL) for plan in apart.controls(seen.calibration, self.kinds))
        with workers(shop, self.jobs) as executor:
            is_over, left_s = self.budget.is_calibration_over, lambda: self.budget.nulls_s(is_awaited=queue.is_awaited)
            for task, outcome in each(executor, queue, self.jobs, is_over, left_s=left_s):
                if task.why != Why.CONTROL:
                    self.null(outcome)
                elif why := apart.objection(outcome, kind := apart.kind_of(task.plan)):
                    self._leave_out(kind, why)
        self.tally.calibration_s = self.elapsed_s()
        self.budget.must_last()
        if seen.calibration.is_service and self.tally.null_failures[promises.NAME] >= self.tally.nulls:
            must_keep(self.tally.muted[promises.NAME])
        return msgspec.structs.replace(seen.calibration, nulls=self.tally.nulls, muted=dict(self.tally.muted))

    def null(self, outcome: Outcome) -> None:
        """Note what a null trial showed."""
        self.tally.null(outcome.verdicts)

    def try_all(self, seen: Observation, shop: Workshop, ordered: list[Candidate]) -> None:
        """Do the trials until they or the budget end; Ctrl-C ends them too."""
        self.progress.phase("breaking")
        self.tally.appended, self.tally.repeats = only_appended(seen.calibration), seen.calibration.repeats
        self.tally.takes, self.tally.gaps = bool(taken_away(seen.calibration)), removed_first(seen.calibration)
        self.tally.kept = kept(seen.calibration)
        patience = patience_of(seen.calibration)
        rerun = not seen.calibration.refuses_rerun
        queue = Queue()
        for number, candidate in enumerate(ordered):
            queue.others.append(Task(self.plan_of(candidate, number, patience, rerun), Why.TRIAL))
            if number % NULL_EVERY == NULL_EVERY - 1:
                plan = Plan(kind="null", start=candidate.start, patience=patience, rerun=rerun)
                queue.others.append(Task(plan, Why.NULL))
        self.progress.planned(len(ordered))
        try:
            with workers(shop, self.jobs) as executor:
                grace_s = self.grace_s(patience, queue)
                tasks = each(executor, queue, self.jobs, self.budget.is_spent, self.begin, grace_s)
                for task, outcome in tasks:
                    task.took_s = self.clock.monotonic() - task.began_s
                    self.budget.took(task.took_s)
                    self.keep.done(task, outcome)
                    self.take(task, outcome, queue)
        except KeyboardInterrupt:
            self.tally.is_interrupted = True
        self.tally.close(self.elapsed_s())

    def begin(self, task: Task) -> None:
        """Note when a trial begins, and keep its plan.

        Once a wait that repeats is known, and watched apart, none is waited for so long: it would use up the budget.
        """
        if self.tally.watched and task.why == Why.TRIAL:
            task.plan = msgspec.structs.replace(task.plan, patience=task.plan.patience.forewarned())
        task.began_s = self.clock.monotonic()
        self.keep.planned(task)

    def grace_s(self, patience: Patience, queue: Queue) -> Callable[[], float]:
        """How long trials may still take, which is announced."""
        told = False

        def left_s() -> float:
            nonlocal told
            grace_s = self.budget.grace_s(patience.hard_s, is_awaited=queue.is_awaited)
            if self.budget.is_spent() and not told:
                told = True
                self.progress.note(f"no time is left for another trial; what has begun may take {grace_s:.0f} s more")
            return grace_s

        return left_s

    def take(self, task: Task, outcome: Outcome, queue: Queue) -> None:
        """Count one outcome; a failing one is repeated before anything else."""
        verdicts = [self.unless_known(verdict) for verdict in outcome.verdicts]
        failing = [v for v in verdicts if v.outcome == FAILED]
        match task.why:
            case Why.NULL:
                self.null(outcome)
            case Why.CONFIRM:
                self.confirmed(task, outcome, failing)
            case Why.STACK:
                self.placed(task, outcome)
            case Why.INSIST:
                self.suspect(task, outcome, failing, queue)
            case Why.MEASURE | Why.TRACE:
                queue.others.extendleft(more.taken(task, outcome, self.tally, self.budget))
            case Why.REPEAT:
                self.repeated(task, failing, outcome, queue)
            case _:
                self.count(task, outcome, verdicts)
                self.suspect(task, outcome, failing, queue)
                self.watch_longer(task, outcome, queue)
                queue.others.extendleft(more.tasks(task, outcome, self.tally, self.budget))

    def count(self, task: Task, outcome: Outcome, verdicts: list[Verdict]) -> None:
        """Count a trial that was planned, and why it may be undecided."""
        result = result_of(verdicts)
        self.tally.count(place_of(msgspec.to_builtins(task.plan)), result, outcome.history, outcome.verdicts)
        self.progress.done(result)
        for verdict in verdicts:
            if verdict.outcome == UNKNOWN and verdict.why:
                self.tally.unknown[verdict.why] = self.tally.unknown.get(verdict.why, 0) + 1

    def unless_known(self, verdict: Verdict) -> Verdict:
        """The verdict; what a muted oracle found is unknown, and what a lock that expires holds up is no failure.

        Both may be known only since the trial was judged.
        """
        if verdict.label == DEFECT and verdict.consequence == "stuck" and verdict.paths in self.tally.leases:
            return passed(verdict.oracle, f"{', '.join(verdict.paths)} is known to expire")
        return unless_muted(verdict, self.tally.muted)

    def suspect(self, task: Task, outcome: Outcome, failing: list[Verdict], queue: Queue) -> None:
        """Add failures to what is known of their causes; the same repetitions tell about all new ones of a trial."""
        new: list[str] = []
        for verdict in failing:
            failure = self.tally.failure(str(task.number), outcome, verdict)
            cause = cause_of(failure)
            if cause in self.tally.eased or self.tally.is_explained(task.plan, failure):
                continue
            if cause not in self.tally.suspicions:
                self.tally.suspicions[cause] = Suspicion(task.plan, [], found_s=self.elapsed_s())
                new.append(cause)
            self.tally.suspicions[cause].failures.append(failure)
            self.tally.suspicions[cause].plans.append(task.plan)
            self.tally.suspicions[cause].places.add(place_of(msgspec.to_builtins(task.plan)))
        if new:
            self.ask_again(new, REPEATS, queue)

    def ask_again(self, causes: list[str], count: int, queue: Queue) -> None:
        """Queue repetitions: of a defect at once, of a policy before other trials, of a note after them."""
        known = [self.tally.suspicions[cause] for cause in causes]
        for one in known:
            one.asked += count
        plan = known[0].plan
        tasks = [Task(plan, Why.REPEAT, tuple(causes)) for _ in range(count)]
        waiting = 0
        if any(one.failures[0].history.good_again is not None for one in known):
            waiting = count  # a lock that expires may be all that is in the way: then it must not be found again
        elif any(one.failures[0].verdict.consequence == "stuck" for one in known):
            waiting = 1  # tells a lock with a limit from one without
        for task in () if plan.late_s else tasks[:waiting]:
            task.plan = msgspec.structs.replace(plan, late_s=self.budget.late_s)
        labels = {one.label for one in known}
        if DEFECT in labels:
            queue.urgent.extend(tasks)
        elif POLICY in labels:
            queue.others.extendleft(tasks)
        else:
            queue.others.extend(tasks)

    def watch_longer(self, task: Task, outcome: Outcome, queue: Queue) -> None:
        """A wait that repeats without progress is watched once more, for as long as the budget allows."""
        first = outcome.history.run("run")
        wait = first.end.wait if first is not None else None
        if wait is None or wait.state != REPEATING or (wait.call, wait.path) in self.tally.watched:
            return
        self.tally.watched.add((wait.call, wait.path))
        queue.others = postponed(queue.others, task.plan)
        patience = task.plan.patience
        left_s = self.budget.left_s() - patience.deadline_s
        watch_s = max(WATCH_MIN_S, min(WATCH_MAX_S, left_s))
        if watch_s > left_s + patience.repeat_s:
            return  # not even with the patience that is granted after the budget
        longer = msgspec.structs.replace(task.plan, patience=patience.confirming(watch_s))
        queue.urgent.append(Task(longer, Why.CONFIRM))

    def confirmed(self, task: Task, outcome: Outcome, failing: list[Verdict]) -> None:
        """What was watched for longer is a finding, or a note where it was not watched for long enough."""
        for verdict in failing:
            failure = self.tally.failure(str(task.number), outcome, verdict)
            cause = cause_of(failure)
            is_one = verdict.consequence == "hung" or rounds.is_confirmed(verdict)
            if is_one and cause not in self.tally.suspicions:
                known = Suspicion(task.plan, [failure], is_confirmed=True, found_s=self.elapsed_s())
                self.tally.suspicions[cause] = known
                if known.label == DEFECT:
                    self.keep.found(cause, known)

    def look_later(self, task: Task, failing: list[Verdict], outcome: Outcome) -> None:
        """Take what a repetition saw that waited: the evidence of a lock without a limit, or a note instead."""
        if outcome.history.late is None:
            return
        for verdict in failing:
            failure = self.tally.failure(str(task.number), outcome, verdict)
            cause = cause_of(failure)
            for earlier in task.causes:
                known = self.tally.suspicions.get(earlier)
                if known is None or verdict.consequence != "stuck" or known.failures[0].verdict.consequence != "stuck":
                    continue
                if cause == earlier:
                    known.plan, known.failures[0] = task.plan, failure
                elif verdict.label == NOTE and set(verdict.paths) == set(known.failures[0].verdict.paths):
                    del self.tally.suspicions[earlier]
                    self.tally.eased[earlier] = cause
                    self.tally.leases.add(verdict.paths)
                    if cause not in self.tally.suspicions:
                        known = Suspicion(task.plan, [failure], is_confirmed=True, found_s=self.elapsed_s())
                        self.tally.suspicions[cause] = known

    def repeated(self, task: Task, failing: list[Verdict], outcome: Outcome, queue: Queue) -> None:
        """Note how a repetition went; where they disagree, three more decide."""
        seen = [Failure(history=outcome.history, verdict=v) for v in failing]
        self.look_later(task, failing, outcome)
        for cause in task.causes:
            if cause in self.tally.eased:
                continue
            known = self.tally.suspicions[cause]
            known.repeats.append(any(is_same(again, known.failures[0]) for again in seen))
            state = known.reproduction
            if len(known.repeats) < known.asked:
                continue
            if state.more:
                self.ask_again([cause], state.more, queue)
            elif state.shown and known.label == DEFECT:
                self.keep.found(cause, known)
                if known.wants_stack:
                    plan = msgspec.structs.replace(known.plan, stacks=True, rerun=False)
                    queue.urgent.append(Task(plan, Why.STACK, (cause,)))

    def placed(self, task: Task, outcome: Outcome) -> None:
        """Note where exactly a native program was when the fault acted."""
        stacks = [one.stack for one in outcome.history.injected if one.stack]
        for cause in task.causes:
            self.tally.suspicions[cause].stack = stacks[0] if stacks else ()


def _faults_of(candidate: Candidate) -> tuple[AnyFault, ...]:
    """The candidate's fault, after the crash that it needs, if any."""
    both = [candidate.crash, candidate.fault] if candidate.crash else [candidate.fault]
    return tuple(cast(AnyFault, fault) for fault in both)
