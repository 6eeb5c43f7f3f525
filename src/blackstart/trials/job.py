"""The trial of a job (a program that ends): sandbox, start, fault, end or kill, restart without fault, final reads.

The restart happens inside the killed run's namespaces, with the pids advanced, so that a stale pid file cannot look
alive by accident. The state is read before and after it. A restart that fails twice is followed by the search for the
smallest set of paths whose reset makes it start; after damage of our own the good file is put back instead. Where
something only had to be removed, or nothing helped after damage of our own, it may be a lock with a time limit: on
demand the target is started again later, and at last with a wall clock that is ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import SandboxLimit
from blackstart.core.history import EXITED, KILLED, STOPPED, End, History, Injected, Reset, Run
from blackstart.faults.link import Link
from blackstart.faults.scene import RESTART, RUN, CannotInject, Fault, Scene
from blackstart.gate import Recorder, WallClock
from blackstart.sandbox import Joint, Sandbox
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Duty
from blackstart.trials.bench import Bench
from blackstart.trials.plan import Plan
from blackstart.trials.resets import Resets
from blackstart.trials.taping import OBSERVED

BEFORE = "before"
_LATE_SHARES = (0.25, 0.5, 1.0)
# What lacked something of its own has it back at once; what has lost a peer may have to connect again.
_AGAIN_S, _AGAIN_CONNECTING_S = 10.0, 75.0
# Locks that live longer than this are as good as without a limit.
_AHEAD_S = (3600.0, 86400.0)


def run_trial(plan: Plan, bench: Bench) -> History:
    """Do the trial; what the sandbox itself could not do is the history's `trouble`, and the trial is unknown."""
    try:
        return Trial(plan, bench).run()
    except SandboxLimit as limit:
        return History(start=plan.start, kind=plan.kind, trouble=limit.what)


class Trial:
    """The order of events; a kind whose first start is none of the target's replaces `first`."""

    def __init__(self, plan: Plan, bench: Bench) -> None:
        self.plan = plan
        self.bench = bench
        self.injected: list[Injected] = []
        self.runs: list[Run] = []

    def run(self) -> History:
        """All of it."""
        plan, bench = self.plan, self.bench
        resets: tuple[Reset, ...] = ()
        late = _Late()
        good_again: Run | None = None
        is_damage = any(fault.lasting for fault in plan.faults)
        with bench.image_from(plan.start) as image, ExitStack() as lasting:
            with bench.zygote.sandbox(image) as sandbox:
                scene = self.scene(sandbox, image)
                with ExitStack() as passing:
                    found = self.first(sandbox, scene, passing, lasting)
                crash = "" if is_damage else self._keep_crash(image, lasting)
                if plan.rerun:
                    self._restart(sandbox, scene, crash)
                trouble = sandbox.trouble(*bench.touched())
            if plan.rerun and self._failed_twice():
                if is_damage:
                    lasting.close()
                    good_again = self._once(image, "good again")
                    if not self._is_clean(good_again):
                        good_again = self._later(image, "good again").run or good_again
                else:
                    resets = Resets(bench, plan, self._is_clean).search(crash)
                    if any(reset.helped and not reset.put_back for reset in resets):
                        late = self._later(image, "late")
        return History(
            start=plan.start,
            kind=plan.kind,
            injected=tuple(self.injected),
            runs=(*found, *self.runs),
            resets=resets,
            late=late.run,
            late_s=late.waited_s,
            ahead_s=late.ahead_s,
            clock=late.clock,
            good_again=good_again,
            trouble=trouble,
        )

    def scene(self, sandbox: Sandbox, image: str) -> Scene:
        """What the plan's faults may lay hands on; companions that they break are apart before the first start."""
        plan, bench = self.plan, self.bench
        join = self._join() if bench.zygote.isolation != LANDLOCK else None
        proxied = any(getattr(fault, "is_proxied", False) for fault in plan.faults)
        peers = partial(bench.company, sandbox, join, proxied=proxied)
        if proxied or join is not None:
            peers()
        return Scene(
            zygote=bench.zygote,
            image=image,
            start=plan.start,
            real=partial(bench.real, image=image),
            seed=plan.seed,
            joint=lambda: sandbox.joint,
            processes=lambda: [process.outer_pid for process in sandbox.census()],
            peers=peers,
            new_socket=sandbox.new_socket,
            noted=bench.noted,
        )

    def _join(self) -> Callable[[Sandbox], Joint] | None:
        """What puts a link between target and companions, where one of the faults is about that."""
        found = (fault for fault in self.plan.faults if isinstance(fault, Link))
        return next((partial(fault.join, seed=self.plan.seed) for fault in found), None)

    def first(self, sandbox: Sandbox, scene: Scene, passing: ExitStack, lasting: ExitStack) -> tuple[Run, ...]:
        """The first start, with its faults; what it found, where that was damaged."""
        armed = self._inject(RUN, scene, passing, lasting)
        is_damage = any(fault.lasting for fault in self.plan.faults)
        image = self.bench.left(BEFORE, scene.image) if is_damage else {}
        self._start(sandbox, scene, RUN, armed, passing)
        return (Run(phase=BEFORE, end=End(how=EXITED), image=image),) if is_damage else ()

    def _inject(self, phase: str, scene: Scene, passing: ExitStack, lasting: ExitStack) -> list[tuple[Fault, int]]:
        """Inject the faults of this phase; each with the index of the first tamper that it armed."""
        armed: list[tuple[Fault, int]] = []
        for fault in self.plan.faults:
            if fault.phase != phase:
                continue
            first = len(scene.tampers)
            try:
                (lasting if fault.lasting else passing).enter_context(fault.inject(scene))
            except CannotInject as error:
                self.injected.append(Injected(fault=str(fault), kind=fault.kind, note=str(error)))
            else:
                armed.append((fault, first))
        return armed

    def _keep_crash(self, image: str, lasting: ExitStack) -> str:
        """A copy of the state as the faults left it, for the search of resets."""
        crash = f"{image}-crash"
        if self.plan.rerun:
            self.bench.zygote.copy(image, crash)
            lasting.callback(self.bench.zygote.drop, crash)
        return crash

    def _restart(self, sandbox: Sandbox, scene: Scene, crash: str) -> None:
        """Start again, with the faults that fall into recovery; then, if that start was broken or failed, once more."""
        sandbox.advance_pids(self.bench.pid_step)
        with ExitStack() as passing:
            armed = self._inject(RESTART, scene, passing, passing)
            self._start(sandbox, scene, RESTART, armed, passing)
        if armed:
            # The broken recovery was part of the damage; what counts is the clean restart after it.
            self.runs = [self.runs[0], _renamed(self.runs[1], "recovery")]
            if crash:
                self.bench.zygote.drop(crash)
                self.bench.zygote.copy(scene.image, crash)
            sandbox.advance_pids(self.bench.pid_step)
            self._start(sandbox, scene, RESTART, [])
        if not self._is_clean(self.runs[-1]):
            sandbox.advance_pids(self.bench.pid_step)
            self._start(sandbox, scene, "restart-again", [])

    def _start(
        self,
        sandbox: Sandbox,
        scene: Scene,
        phase: str,
        armed: list[tuple[Fault, int]],
        passing: ExitStack | None = None,
    ) -> None:
        duty = self._duty(phase, passing, scene)
        sandbox.uptime_s = scene.uptime_s
        watches = bool(duty.effects) or duty.when_ready is not None or (self.plan.insists and phase == RUN)
        run, conducted = self.bench.start(
            sandbox,
            scene.image,
            phase,
            calls=OBSERVED if watches else frozenset(),
            recorder=Recorder(mask=self.bench.masker) if watches else None,
            tampers=scene.tampers,
            patience=self.plan.patience,
            drop_capabilities=scene.drop_capabilities,
            signals=scene.signals,
            duty=duty,
            wall=scene.wall,
            stacks=self.plan.stacks,
        )
        self.runs.append(run)
        if scene.group is not None:
            conducted = msgspec.structs.replace(conducted, group=scene.group.counts())
        company = self.bench.company(sandbox)
        if company is not None:
            company.must_live()
        for fault, first in armed:
            self.injected.append(fault.account(conducted, first))

    def _duty(self, phase: str, passing: ExitStack | None, scene: Scene) -> Duty:
        """What a service does in this start: its work in the first one; afterwards it is only asked what it kept."""
        acts = (act for run in self.runs if run.life for act in run.life.asked)
        effects = self.bench.calibration.effects if phase == RUN else ()
        kept = tuple(dict.fromkeys(act.id for act in acts if act.how == "ok"))
        again_s = self._again_s()
        return Duty(
            works=phase == RUN,
            asks=phase != RUN,  # in the middle of its recovery a service may refuse to answer
            acknowledged=kept,
            heal=passing.close if passing else None,
            works_again=again_s > 0 and phase == RUN,
            again_max_s=again_s,
            is_brief={getattr(fault, "is_brief", False) for fault in self.plan.faults} == {True},
            works_after=self.plan.measures and (phase == RUN or self.runs[0].end.how == KILLED),
            signals_at_stop=tuple(scene.signals_at_stop),
            when_ready=_all_of(scene.when_ready) if scene.when_ready else None,
            hold_s=scene.hold_s,
            lets_go=phase == RUN and self.plan.kind == "clients",
            watch_s=max((effect.watch_s for effect in effects), default=0.0),
            effects=tuple(frozenset(effect.names) for effect in effects),
        )

    def _again_s(self) -> float:
        """How long a service's workload is repeated after healing, at most; 0: not at all."""
        if self.bench.companions and self.plan.kind in ("null", "peer", "dns"):
            return _AGAIN_CONNECTING_S
        is_asked = self.plan.insists or self.plan.kind == "limit"
        return _AGAIN_S if self.bench.calibration.repeats and is_asked else 0.0

    def _is_clean(self, run: Run) -> bool:
        """Ended as a clean run of the chain does."""
        if run.life is not None:
            return run.end.how == STOPPED
        if run.end.how != EXITED:
            return False
        return (
            run.end.code in {clean.code for clean in self.bench.calibration.chain} or not self.bench.calibration.chain
        )

    def _failed_twice(self) -> bool:
        again = self.runs[-1]
        return again.phase == "restart-again" and not self._is_clean(again)

    def _later(self, image: str, phase: str) -> _Late:
        """It refused twice, or waits; perhaps what is in its way expires."""
        late = _Late()
        began_s = SYSTEM.monotonic()
        if not self.plan.late_s:
            return late
        for share in _LATE_SHARES if self.runs[-1].end.how == EXITED else ():
            SYSTEM.sleep(max(0.0, began_s + share * self.plan.late_s - SYSTEM.monotonic()))
            late = _Late(run=self._once(image, phase), waited_s=SYSTEM.monotonic() - began_s)
            if late.run and self._is_clean(late.run):
                return late
        for ahead_s in _AHEAD_S:
            wall = WallClock()
            wall.jump(ahead_s)
            run = self._once(image, phase, wall)
            late = _Late(
                run=run,
                waited_s=SYSTEM.monotonic() - began_s,
                ahead_s=ahead_s if wall.reads else 0.0,
                clock=_unmoved(wall, run),
            )
            if self._is_clean(run) or late.clock or not wall.reads:
                break
        return late

    def _once(self, image: str, phase: str, wall: WallClock | None = None) -> Run:
        with self.bench.zygote.sandbox(image) as sandbox:
            sandbox.advance_pids(4 * self.bench.pid_step)
            run, _ = self.bench.start(sandbox, image, phase, patience=self.plan.patience, wall=wall)
        return run


class _Late(msgspec.Struct, frozen=True, kw_only=True):
    """A start after a wait, perhaps under a clock that is ahead; clock: why the target could not be shown that."""

    run: Run | None = None
    waited_s: float = 0.0
    ahead_s: float = 0.0
    clock: str = ""


def _unmoved(wall: WallClock, run: Run) -> str:
    """Why that clock tells nothing. A run that ended by itself was not held up by a wait of one of its threads."""
    waits = wall.waits and run.end.how != EXITED
    return wall.trouble or ("it waits until a time of the wall clock, which cannot be moved" if waits else "")


def _all_of(faults: list[Callable[[], bool]]) -> Callable[[], bool]:
    """Whether each of them has acted; one that has is not asked again."""
    left = list(faults)

    def act() -> bool:
        left[:] = [fault for fault in left if not fault()]
        return not left

    return act


def _renamed(run: Run, phase: str) -> Run:
    return msgspec.structs.replace(run, phase=phase)
