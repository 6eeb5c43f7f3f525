"""The trial of a power cut: the disk is built instead of the run, then restarts and reads as in any other trial."""

from __future__ import annotations

from contextlib import ExitStack

from blackstart.core.errors import BlackstartError
from blackstart.core.history import KILLED, End, History, Run
from blackstart.faults.power import PowerCut
from blackstart.faults.scene import RUN, Scene
from blackstart.power import Recording
from blackstart.sandbox import Sandbox
from blackstart.trials.bench import Bench
from blackstart.trials.job import Trial
from blackstart.trials.lane import clear
from blackstart.trials.plan import Plan


class PowerTrial(Trial):
    """The first start is not made: it is what the recording says it was until the cut."""

    def __init__(self, plan: Plan, bench: Bench) -> None:
        super().__init__(plan, bench)
        recordings = (clean.recording for clean in bench.calibration.chain if clean.start == plan.start)
        self.recording: Recording | None = next(recordings, None)

    def first(self, sandbox: Sandbox, scene: Scene, passing: ExitStack, lasting: ExitStack) -> tuple[Run, ...]:
        """Build the disk; the Run of it holds what had got out, and the image as the cut left it."""
        recording = scene.recording = self.recording
        assert recording is not None
        for fault in self.plan.faults:
            assert isinstance(fault, PowerCut)
            if fault.phase == RUN:
                passing.enter_context(fault.inject(scene))
                injected, outputs = fault.told(recording)
                self.injected.append(injected)
                readings = (self.bench.ask_check(scene.image, RUN),) if self.bench.check else ()
                self.runs.append(
                    Run(
                        phase=RUN,
                        end=End(how=KILLED, signal=9),
                        outputs=outputs,
                        image=self.bench.read(scene.image),
                        readings=readings,
                    )
                )
        return ()


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
    except BlackstartError as error:
        return History(start=plan.start, kind=plan.kind, trouble=error.what)
