"""The trial of a job (a program that ends): sandbox, start, fault, end or kill, restart without fault, final reads.

The restart happens inside the killed run's namespaces, with the pids advanced, so that a stale pid file cannot look
alive by accident. The state is read before and after it. A restart that fails twice is followed by the search for the
smallest set of paths whose reset makes it start; after damage of our own the good file is put back instead.
"""

from __future__ import annotations

from contextlib import ExitStack

from blackstart.core.errors import SandboxLimit
from blackstart.core.history import EXITED, History, Injected, Reset, Run
from blackstart.core.reading import Image
from blackstart.faults.scene import RESTART, RUN, Fault, Scene
from blackstart.sandbox import Sandbox
from blackstart.trials.bench import Bench
from blackstart.trials.plan import Plan

RESETS_MAX = 6


def run_trial(plan: Plan, bench: Bench) -> History:
    """Do the trial; what the sandbox itself could not do is the history's `trouble`, and the trial is unknown."""
    try:
        return _Trial(plan, bench).run()
    except SandboxLimit as limit:
        return History(start=plan.start, kind=plan.kind, trouble=limit.what)


class _Trial:
    def __init__(self, plan: Plan, bench: Bench) -> None:
        self.plan = plan
        self.bench = bench
        self.injected: list[Injected] = []
        self.runs: list[Run] = []

    def run(self) -> History:
        plan, bench = self.plan, self.bench
        resets: tuple[Reset, ...] = ()
        good_again: Run | None = None
        with bench.image_from(plan.start) as image, ExitStack() as lasting:
            scene = Scene(zygote=bench.zygote, image=image, start=plan.start, real=bench.real)
            with bench.zygote.sandbox(image) as sandbox:
                with ExitStack() as passing:
                    armed = self._inject(RUN, scene, passing, lasting)
                    self._start(sandbox, scene, RUN, armed)
                crash = f"{image}-crash"
                bench.zygote.copy(image, crash)
                lasting.callback(bench.zygote.drop, crash)
                if plan.rerun:
                    self._restart(sandbox, scene)
                trouble = sandbox.trouble()
            if plan.rerun and self._failed_twice():
                if any(fault.lasting for fault in plan.faults):
                    lasting.close()
                    good_again = self._once(image, "good again")
                else:
                    resets = self._find_reset(crash)
        return History(
            start=plan.start,
            kind=plan.kind,
            injected=tuple(self.injected),
            runs=tuple(self.runs),
            resets=resets,
            good_again=good_again,
            trouble=trouble,
        )

    def _inject(self, phase: str, scene: Scene, passing: ExitStack, lasting: ExitStack) -> list[tuple[Fault, int]]:
        """Inject the faults of this phase; each with the index of the first tamper that it armed."""
        armed: list[tuple[Fault, int]] = []
        for fault in self.plan.faults:
            if fault.phase == phase:
                armed.append((fault, len(scene.tampers)))
                (lasting if fault.lasting else passing).enter_context(fault.inject(scene))
        return armed

    def _restart(self, sandbox: Sandbox, scene: Scene) -> None:
        """Start again, with the faults that fall into recovery; then, if that start was broken or failed, once more."""
        sandbox.advance_pids(self.bench.pid_step)
        with ExitStack() as passing:
            armed = self._inject(RESTART, scene, passing, passing)
            self._start(sandbox, scene, RESTART, armed)
        if armed:
            # The broken recovery was part of the damage; what counts is the clean restart after it.
            self.runs = [self.runs[0], _renamed(self.runs[1], "recovery")]
            sandbox.advance_pids(self.bench.pid_step)
            self._start(sandbox, scene, RESTART, [])
        if not self._is_clean(self.runs[-1]):
            sandbox.advance_pids(self.bench.pid_step)
            self._start(sandbox, scene, "restart-again", [])

    def _start(self, sandbox: Sandbox, scene: Scene, phase: str, armed: list[tuple[Fault, int]]) -> None:
        run, conducted = self.bench.start(
            sandbox,
            scene.image,
            phase,
            tampers=scene.tampers,
            patience=self.plan.patience,
            drop_capabilities=scene.drop_capabilities,
            base=scene.start,
        )
        self.runs.append(run)
        for fault, first in armed:
            self.injected.append(fault.account(conducted, first))

    def _is_clean(self, run: Run) -> bool:
        """Ended as a clean run of the chain does."""
        if run.end.how != EXITED:
            return False
        return (
            run.end.code in {clean.code for clean in self.bench.calibration.chain} or not self.bench.calibration.chain
        )

    def _failed_twice(self) -> bool:
        again = self.runs[-1]
        return again.phase == "restart-again" and not self._is_clean(again)

    def _once(self, image: str, phase: str) -> Run:
        with self.bench.zygote.sandbox(image) as sandbox:
            run, _ = self.bench.start(sandbox, image, phase, patience=self.plan.patience, base=self.plan.start)
        return run

    def _find_reset(self, crash: str) -> tuple[Reset, ...]:
        """Try smallest sets of paths first: what the killed run made is removed, what it changed is put back."""
        before, after = self.bench.read(self.plan.start), self.bench.read(crash, self.plan.start)
        made = sorted(path for path in after if path not in before and after[path].kind != "directory")
        changed = sorted(path for path in before if _differs(before, after, path))
        attempts = [Reset(removed=(path,)) for path in made[:RESETS_MAX]]
        attempts += [Reset(removed=tuple(made))] if len(made) > 1 else []
        attempts += [Reset(put_back=(path,)) for path in changed[:RESETS_MAX]]
        attempts += [Reset(removed=tuple(made), put_back=tuple(changed))] if made or len(changed) > 1 else []
        tried: list[Reset] = []
        for attempt in attempts:
            if attempt in tried:
                continue
            helped = self._helps(crash, attempt)
            tried.append(Reset(removed=attempt.removed, put_back=attempt.put_back, helped=helped))
            if helped:
                break
        return tuple(tried)

    def _helps(self, crash: str, attempt: Reset) -> bool:
        bench = self.bench
        with bench.image_from(crash) as image:
            for path in attempt.removed:
                bench.zygote.remove(image, bench.real(path))
            for path in attempt.put_back:
                bench.zygote.put(image, bench.real(path), self.plan.start)
            return self._is_clean(self._once(image, "reset"))


def _differs(before: Image, after: Image, path: str) -> bool:
    if before[path].kind == "directory":
        return False
    return path not in after or after[path].digest != before[path].digest


def _renamed(run: Run, phase: str) -> Run:
    return Run(phase=phase, end=run.end, outputs=run.outputs, image=run.image, readings=run.readings, left=run.left)
