"""Observe: what the target does when nothing is broken.

A scouting run on overlays finds the state directories and counts for nothing else. Then, with those as copies: two runs
from one start (the mask), a chain of re-runs S0 -> S1 -> S2 -> S3, a placebo (no gate at all), one deletion trial per
file whose role the trace leaves open, clean re-runs from each boundary of a multi-step job. The null trials come last
and are judged like any other; they run on the workers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial

from blackstart.campaign import ground
from blackstart.campaign.budget import Budget, enough
from blackstart.campaign.deleting import Deleting
from blackstart.campaign.scout import FIRST_PATIENCE, bench_on, last_words, must_work
from blackstart.campaign.serving import (
    behind,
    ends_only,
    lasted_s,
    measured,
    must_answer,
    must_serve,
    periodic,
    spans,
    went_well,
)
from blackstart.core.calibration import Calibration, CleanRun, Effect, Mask
from blackstart.core.clock import SYSTEM
from blackstart.core.errors import Undecided
from blackstart.core.history import EXITED, Run
from blackstart.core.masking import Masker, same
from blackstart.core.reading import FileState, Image
from blackstart.core.trace import Operation
from blackstart.gate import Recorder, WallClock
from blackstart.proxy.address import UDP
from blackstart.report.progress import Progress
from blackstart.sandbox import Layout, Zygote, crossings, groups
from blackstart.surface import (
    Moment,
    Surface,
    VersionReader,
    Versions,
    boundary_rerun,
    extend,
    masked_trace,
    roles,
    surface,
)
from blackstart.surface import Observation as Seen
from blackstart.targets import Command, Patience, Service
from blackstart.targets.usage import Usage
from blackstart.trials import Bench
from blackstart.trials.taping import OBSERVED

STARTS = ("S0", "S1", "S2", "S3")
BOUNDARIES_MAX = 8
ANOTHER_SECOND_S = 1.05
# Scouting, two from one start, the chain, its twin, the placebo, and three null trials of two starts each.
RUNS_MIN = 13
OUTPUT_DATA_BYTES = 1 << 16
REFUSES = "the program refuses a second run: restart by re-run does not apply"


@dataclass
class Observation:
    """What was observed, and the zygote that holds the start states."""

    layout: Layout
    zygote: Zygote
    bench: Bench
    calibration: Calibration
    surface: Surface
    clean_runs: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass
class _Recorded:
    """One clean run under the gate and all that was read while it ran."""

    run: Run
    trace: tuple[Operation, ...]
    versions: Versions
    began_s: float
    zones_s: tuple[int, ...]
    before: Image
    usage: Usage
    boundaries: list[str] = field(default_factory=list)

    @property
    def moment(self) -> Moment:
        ended_s = self.began_s + self.run.end.elapsed_s
        return Moment(began_s=self.began_s, ended_s=ended_s, zones_s=self.zones_s)

    def seen(self) -> Seen:
        """What a mask is learnt from."""
        paths = {p for o in self.trace for p in (o.path, o.path2) if p.startswith(("/", "socket:inet"))}
        return Seen(
            image=self.run.image,
            paths=frozenset(paths),
            stdout=self.run.text("stdout"),
            stderr=self.run.text("stderr"),
            check=self.run.readings[0].value.encode("utf-8", "surrogateescape") if self.run.readings else b"",
            before=self.before,
            moment=self.moment,
        )


class Observer:
    """Does the clean runs of one target and puts the yardstick together."""

    def __init__(
        self,
        layout: Layout,
        isolation: str,
        target: Command,
        check: Command | None,
        budget: Budget,
        service: Service | None = None,
    ) -> None:
        self.layout = layout
        self.budget = budget
        self.zygote = ground.open_zygote(layout, isolation)
        self.bench = bench_on(self.zygote, target, check, Mask(), service)
        self.bench.left_s = budget.lasting_s
        self.runs = 0
        self.patience = FIRST_PATIENCE
        self.notes: list[str] = []
        self.uncovered: dict[str, str] = {}
        self.clock_reads = 0

    def close(self) -> None:
        """End the zygote; every image goes with it."""
        self.zygote.close()

    def is_spent(self) -> bool:
        """Whether the part of the budget that calibration may take is used up: what is optional is left out then."""
        return self.budget.is_calibration_over()

    def observe(self, progress: Progress) -> Observation:
        """All of calibration but the null trials."""
        self.zygote.capture("S0")
        progress.phase("calibrating")
        first = self._recorded("S0", "S1")
        self.bench.service = measured(self.bench.service, first.run)
        (must_work if self.bench.service is None else must_serve)(first.run, first.trace)
        if any(reading.error for reading in first.run.readings):
            must_answer(first.run.readings)  # one that hangs would take its limit again in each run
        self._must_fit(lasted_s(first.run))
        self.patience = Patience.after(*spans(first.run))
        recorded = self._chain(first)
        refuses = len(recorded) == 1
        # What a program derives from the time it often rounds to seconds: the second runs fall into another one.
        SYSTEM.sleep(max(0.0, recorded[-1].moment.ended_s + ANOTHER_SECOND_S - SYSTEM.now()))
        self._learn(first, self._recorded("S0", other_pids=1))
        if not refuses and self.bench.service is None:
            self._learn(recorded[1], self._recorded("S1", other_pids=1))
        must_answer([reading for one in recorded for reading in one.run.readings])
        self._placebo(first)
        self.budget.must_last()
        return self._put_together(recorded, refuses)

    def _must_fit(self, elapsed_s: float) -> None:
        """Raise where the clean runs alone would take more than the whole budget."""
        needed_s = RUNS_MIN * elapsed_s
        if needed_s > self.budget.total_s:
            raise Undecided(
                f"one clean run takes {elapsed_s:.0f} s; calibration alone would take more than the budget",
                next_step=f"give it more: --budget {enough(needed_s * 3)}, or a shorter job",
            )

    def _recorded(self, start: str, keep: str = "", *, boundaries: bool = False, other_pids: int = 0) -> _Recorded:
        """One clean run from `start` under the gate; its image is kept under the name `keep`.

        other_pids: how many steps further its process ids are, to mask names made of them; its clock readings count;
        boundaries: also keep an image at each version boundary at which no file is half written.
        """
        bench, zygote = self.bench, self.zygote
        saved: list[str] = []
        self.budget.begin_step((self.runs + 1) / RUNS_MIN)
        with bench.image_from(start, keep) as image:
            before = bench.read(image)
            reader = VersionReader(lambda path: bench.prober.state(image, path), before)
            known = 0
            wall = WallClock(counts=bench.service is not None) if other_pids else None

            def on_operation(operation: Operation) -> None:
                nonlocal known
                reader.before(operation)
                usage.see(operation)
                if wall is not None and (operation.changes or operation.masked == "stdout"):
                    wall.count()
                settled = reader.settled_versions
                if boundaries and settled > known and len(saved) < BOUNDARIES_MAX and not self.is_spent():
                    saved.append(f"{start}-boundary-{len(saved)}")
                    zygote.copy(image, saved[-1])
                known = max(known, settled)

            recorder = Recorder(mask=bench.masker, sites=True, data=True, data_max=OUTPUT_DATA_BYTES)
            began_s = SYSTEM.now()
            with zygote.sandbox(image) as sandbox:
                usage = Usage(sandbox.census)
                if other_pids:
                    sandbox.advance_pids(other_pids * bench.pid_step)
                run, conducted = bench.start(
                    sandbox,
                    image,
                    "clean",
                    calls=OBSERVED,
                    recorder=recorder,
                    patience=self.patience,
                    on_operation=on_operation if bench.service is None else None,
                    wall=wall,
                )
        self.runs += 1
        self.budget.end_step()
        self.uncovered.update(conducted.uncovered)
        self._of_clock(wall)
        zones_s = ground.zones_s(bench.command, began_s)
        versions = reader.finish(run.image) if bench.service is None else ends_only(before, run.image)
        return _Recorded(run, conducted.trace, versions, began_s, zones_s, before, usage, saved)

    def _of_clock(self, wall: WallClock | None) -> None:
        """Note whether the target reads the wall clock, and whether a jump of it can be shown to the target."""
        if wall is None:
            return
        why = wall.trouble or ("it waits until a time of it, which cannot be moved" if wall.waits else "")
        if why:
            self.uncovered["wall clock"] = why
        self.clock_reads = 0 if "wall clock" in self.uncovered else max(self.clock_reads, wall.reads)

    def _learn(self, one: _Recorded, other: _Recorded) -> None:
        """Mask what differs between two runs from one start, from now on."""
        self.bench.masker = Masker(extend(self.bench.masker.mask, one.seen(), other.seen()))

    def _chain(self, first: _Recorded) -> list[_Recorded]:
        """S0 -> S1 -> S2 -> S3; a program that refuses a second run ends the chain early."""
        recorded = [first]
        for start, keep in (("S1", "S2"), ("S2", "S3")):
            following = self._recorded(start, keep)
            if following.run.end.how == EXITED and not went_well(following.run) and not self.is_spent():
                # Two starts within one second have one process id here: names made of both would be taken already.
                self.zygote.drop(keep)
                following = self._recorded(start, keep, other_pids=2)
            if not went_well(following.run):
                if start == "S1":
                    said = last_words(following.run)
                    self.notes.append(f"{REFUSES}; it said: {said}" if said else REFUSES)
                break
            recorded.append(following)
            if self.bench.service is not None:
                break  # a service is asked what it kept, not compared with what another start made of it
        return recorded

    def _placebo(self, first: _Recorded) -> None:
        """A run without the gate must give what the runs under it gave."""
        bench = self.bench
        self.budget.begin_step((self.runs + 1) / RUNS_MIN)
        with bench.image_from("S0") as image, self.zygote.sandbox(image) as sandbox:
            run, _ = bench.start(sandbox, image, "placebo", patience=self.patience)
        self.runs += 1
        bare, gated = bench.masker.image(run.image), bench.masker.image(first.run.image)
        different = sorted(p for p in bare.keys() | gated.keys() if not same(bare.get(p), gated.get(p)))
        if run.end.code != first.run.end.code or different:
            what = ", ".join(different) or f"exit status {run.end.code}"
            self.notes.append(
                f"without the gate a clean run gave something else ({what}): the gate or the moment changes it"
            )

    def _effects(self) -> tuple[tuple[Effect, ...], bool]:
        """What a service does by itself, again and again; whether its workload can be repeated."""
        if self.bench.service is None:
            return (), False
        if self.is_spent():
            self.notes.append("no time to learn what the service does by itself again and again: it is not judged")
            return (), False
        self.runs += 1
        return periodic(self.bench, self.patience)

    def _put_together(self, recorded: list[_Recorded], refuses: bool) -> Observation:
        bench, masker = self.bench, self.bench.masker
        traces = [one.trace for one in recorded]
        images = [bench.read(STARTS[k]) for k in range(len(recorded) + 1) if STARTS[k] in self.zygote.names()]
        chain = tuple(self._clean(STARTS[k], one) for k, one in enumerate(recorded))
        words, when = self._arguments(), [one.moment for one in recorded]
        scripts = ground.scripts(words)
        told = partial(roles, traces, images, masker=masker, arguments=words, scripts=scripts, moments=when)
        if refuses or bench.service is not None:
            found = told(deletions={})
        else:
            deleting = Deleting(bench, chain[1], self.patience, self.is_spent)
            found = deleting.roles(told, images[-1])
            self.runs += deleting.runs
            self.notes += deleting.notes
        by_itself, repeats = self._effects()
        calibration = Calibration(
            mask=masker.mask,
            roles=found,
            chain=chain,
            refuses_rerun=refuses,
            slowest_s=max(spans(one.run)[0] for one in recorded),
            slowest_work_s=max(spans(one.run)[1] for one in recorded),
            is_service=bench.service is not None,
            has_check=bench.check is not None,
            write_behind=behind(chain[0], found),
            boundary_reruns={
                start: self._boundary_reruns(start, found)
                for start in (() if refuses or bench.service is not None or self.is_spent() else ("S0", "S1"))
            },
            clock_reads=self.clock_reads,
            effects=by_itself,
            peers=tuple(bench.peers),
            datagram_peers=tuple(path for path, network in bench.peers.items() if network == UDP),
            questions=bench.questions,
            closed=ground.closed(self.layout.copies, masker),
            repeats=repeats,
            groups=tuple(name for name in (groups.MEMORY, groups.CPU) if not groups.place(name).refusal),
        )
        bench.calibration = calibration
        uncovered = {masker(what): why for what, why in self.uncovered.items()}
        return Observation(
            layout=self.layout,
            zygote=self.zygote,
            bench=bench,
            calibration=calibration,
            surface=surface(traces, found, chain[-1].files, uncovered, bench.peers),
            clean_runs=self.runs,
            notes=[*self.notes, *crossings(traces[0], self.layout, masker)],
        )

    def _arguments(self) -> list[str]:
        target = self.bench.command
        return [os.path.normpath(os.path.join(target.cwd, word)) for word in target.argv]

    def _clean(self, start: str, one: _Recorded) -> CleanRun:
        """The recorded run as part of the yardstick, masked."""
        masker, run = self.bench.masker, one.run
        versions = one.versions.masked(masker)
        answer = run.readings[0].value if run.readings else ""
        return CleanRun(
            start=start,
            code=run.end.code,
            elapsed_s=run.end.elapsed_s,
            stdout=masker.text("stdout", run.text("stdout")),
            stderr=masker.text("stderr", run.text("stderr")),
            files=masker.image(run.image),
            versions=versions.versions,
            acknowledgements=versions.acknowledgements,
            check=answer,
            check_versions=self._check_versions(start, answer),
            trace=tuple(masked_trace(one.trace, masker)),
            signal=run.end.signal,
            left=run.left,
            life=run.life,
            memory_bytes=one.usage.memory_bytes,
            resident_bytes=one.usage.resident_bytes,
        )

    def _check_versions(self, start: str, answer: str) -> tuple[str, ...]:
        """The legal answers while a run from this start is under way: before it, after it."""
        if self.bench.check is None or self.bench.service is not None:
            return ()
        before = self.bench.ask_check(start, "before").value
        return tuple(dict.fromkeys((before, answer)))

    def _boundary_reruns(self, start: str, found: dict[str, str]) -> tuple[dict[str, FileState], ...]:
        """What a clean re-run makes of each boundary of a clean run that starts there."""
        bench = self.bench
        one = self._recorded(start, boundaries=True)
        results: list[dict[str, FileState]] = []
        for boundary in one.boundaries:
            if self.is_spent():
                self.zygote.drop(boundary)
                continue
            before = bench.read(boundary)
            with bench.image_from(boundary) as image, self.zygote.sandbox(image) as sandbox:
                run, _ = bench.start(sandbox, image, "boundary", patience=self.patience)
            self.runs += 1
            if run.end.how == EXITED and run.end.code == 0:
                results.append(boundary_rerun(before, run.image, bench.masker, found))
            self.zygote.drop(boundary)
        return tuple(results)
