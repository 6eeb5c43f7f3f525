"""The trial of a power cut: the disk is built instead of the run, then restarts and reads as in any other trial.

Where the program's way is not known beforehand (a sync that fails, a recovery) it is started for real first, on a copy
and recorded, and the disk is built from that recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.history import KILLED, Act, End, History, Injected, Life, Output, Run
from blackstart.faults import Fault
from blackstart.faults.failing_sync import FailingSync
from blackstart.faults.power import PlaceGone, PowerCut, build, said
from blackstart.faults.scene import RUN, Scene
from blackstart.faults.second_cut import SecondCut
from blackstart.power import Failing, Recording, State, model
from blackstart.sandbox import Sandbox
from blackstart.targets.workload import INFO, acts
from blackstart.trials.bench import Bench
from blackstart.trials.job import Trial
from blackstart.trials.lane import clear
from blackstart.trials.plan import Plan
from blackstart.trials.taping import make_read, tape_start

RECOVERY = "recovery"


class PowerTrial(Trial):
    """The first start is not made: it is what the recording says it was until the cut."""

    def __init__(self, plan: Plan, bench: Bench) -> None:
        super().__init__(plan, bench)
        recordings = (clean.recording for clean in bench.calibration.chain if clean.start == plan.start)
        self.recording: Recording | None = next(recordings, None)

    def first(self, sandbox: Sandbox, scene: Scene, passing: ExitStack, lasting: ExitStack) -> tuple[Run, ...]:
        """Build the disk; the Run of it holds what had got out, and the image as the cut left it."""
        self.cut(scene)
        return ()

    def cut(self, scene: Scene) -> None:
        """Build the disk that the last of the cuts leaves into the scene's image, which holds the start state."""
        recording = scene.recording = self.recording
        assert recording is not None
        for fault in self.plan.faults:
            if isinstance(fault, PowerCut):
                with fault.inject(scene):
                    pass
                injected, outputs = fault.told(recording)
                self.injected.append(injected)
                self._note(scene, RUN, outputs, recording)
            elif isinstance(fault, FailingSync):
                self._after_failing(fault, scene, recording)
            elif isinstance(fault, SecondCut):
                self._in_recovery(fault, scene, recording)

    def _note(self, scene: Scene, phase: str, outputs: tuple[Output, ...], recording: Recording) -> None:
        """The start that the power cut ended; a service is asked only when it is up again."""
        is_service = self.bench.service is not None
        readings = (self.bench.ask_check(scene.image, phase),) if self.bench.check and not is_service else ()
        end = End(how=KILLED, signal=9)
        image = self.bench.left(phase, scene.image)
        life = Life(acts=acts_until(recording, outputs)) if is_service else None
        self.runs.append(Run(phase=phase, end=end, outputs=outputs, image=image, readings=readings, life=life))

    def _after_failing(self, fault: FailingSync, scene: Scene, clean: Recording) -> None:
        """Run for real with the sync failing, on a copy; then the disk of a cut after that."""
        bench, first = self.bench, len(scene.tampers)
        with bench.image_from(self.plan.start) as image, bench.zygote.sandbox(image) as sandbox, fault.inject(scene):
            _, conducted, recording = tape_start(
                bench,
                sandbox,
                image,
                self.plan.start,
                clean.tree.roots,
                phase=RUN,
                patience=self.plan.patience,
                tampers=scene.tampers,
                failing=Failing(is_it=fault.is_it, model=model(fault.model), make_read=make_read(bench.zygote, image)),
            )
        state = fault.state(recording)
        self.injected.append(fault.told(fault.account(conducted, first), recording, state))
        if state is not None:
            self._build(recording, state, scene, RUN)

    def _inject(self, phase: str, scene: Scene, passing: ExitStack, lasting: ExitStack) -> list[tuple[Fault, int]]:
        """Nothing falls into a start that counts."""
        return []

    def _in_recovery(self, fault: SecondCut, scene: Scene, clean: Recording) -> None:
        """Let it recover for real, on a copy; then the disk of a cut in that."""
        bench, roots = self.bench, clean.tree.roots
        with bench.image_from(scene.image) as start, bench.image_from(start) as image:
            with bench.zygote.sandbox(image) as sandbox:
                _, _, recording = tape_start(
                    bench, sandbox, image, start, roots, phase=RECOVERY, patience=self.plan.patience, works=False
                )
            state = fault.state(recording)
            self.injected.append(fault.told(recording, state))
            if state is not None:
                self._build(recording, state, scene, RECOVERY)

    def _build(self, recording: Recording, state: State, scene: Scene, phase: str) -> None:
        """Build the disk of this cut into the trial's image, and note the start that it ended."""
        build(recording, state, scene)
        self._note(scene, phase, said(recording.outputs_before(state.cut)), recording)


def acts_until(recording: Recording, outputs: tuple[Output, ...]) -> tuple[Act, ...]:
    """What the workload had said by then; of what it said later, the outcome was unknown."""
    every = acts([_as_stdout(one) for one in said(recording.events)])
    count = len(acts([_as_stdout(one) for one in outputs]))
    return (*every[:count], *(Act(how=INFO, id=one.id) for one in every[count:]))


def _as_stdout(output: Output) -> Output:
    return msgspec.structs.replace(output, stream="stdout")


@contextmanager
def disk_of(plan: Plan, bench: Bench) -> Iterator[tuple[str, tuple[Injected, ...]]]:
    """(an image with the disk that the last cut of this plan leaves, the accounts of the cuts); gone at the end."""
    trial = PowerTrial(plan, bench)
    if trial.recording is None:
        raise BlackstartError("the program no longer gets as far", where=plan.start, next_step="run blackstart anew")
    with bench.image_from(plan.start) as image:
        real = partial(bench.real, image=image)
        scene = Scene(zygote=bench.zygote, image=image, start=plan.start, real=real, seed=plan.seed)
        trial.cut(scene)
        yield image, tuple(trial.injected)


def clear_by_lane(plan: Plan, bench: Bench) -> History | None:
    """The history as a lane tells it; None where a trial of its own is needed."""
    recording = PowerTrial(plan, bench).recording
    if recording is None:
        return None
    try:
        return clear(plan, bench, recording)
    except BlackstartError:
        return None


def run_power_trial(plan: Plan, bench: Bench) -> History:
    """Do the trial; without a recording, or where the program has changed, it is unknown."""
    trial = PowerTrial(plan, bench)
    if trial.recording is None:
        return History(start=plan.start, kind=plan.kind, trouble="the run was not recorded")
    try:
        return trial.run()
    except PlaceGone as error:
        gone = Injected(fault=str(plan.faults[0]), kind=plan.kind, hits=0, fired=0, note=error.what)
        return History(start=plan.start, kind=plan.kind, injected=(gone,))
    except BlackstartError as error:
        return History(start=plan.start, kind=plan.kind, trouble=error.what)
