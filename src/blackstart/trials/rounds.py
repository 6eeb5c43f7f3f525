"""The same again and again: what each round leaves behind adds up, and only that is judged.

A job, and a service that the fault kills, is started with the fault several times on the same state; a clean start at
the end may still tidy up, and so may one with a clock that is far ahead. Any other service lives on: fault, work and
healing repeat within one start. Each is done as often without the faults, which shows what the target piles up anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

from blackstart.core.history import STOPPED, Census, Round, Rounds
from blackstart.faults.scene import RUN, Scene
from blackstart.gate import Tamper, WallClock
from blackstart.sandbox import Sandbox
from blackstart.targets import Duty
from blackstart.trials.bench import Bench
from blackstart.trials.job import Trial
from blackstart.trials.plan import Plan

# Old enough for whoever removes what is old.
AHEAD_S = 31 * 86400.0
# What these break is broken anew in each round; all else of a service is tried by starts.
WITHIN_KINDS = ("errno", "peer", "dns", "disk")
ORPHANS_S = 3.0


def rounds_of(plan: Plan, bench: Bench) -> Rounds:
    """The rounds that the plan asks for."""
    without = msgspec.structs.replace(plan, faults=())
    if bench.service is not None and plan.kind in WITHIN_KINDS:
        faulty, census = _Within(plan, bench).rounds()
        null, _ = _Within(without, bench).rounds()
        return Rounds(faulty=faulty, null=null, census=census)
    patience = msgspec.structs.replace(plan.patience, orphans_s=ORPHANS_S)
    faulty, end = _Starts(msgspec.structs.replace(plan, patience=patience), bench).rounds()
    null, _ = _Starts(without, bench).rounds()
    return Rounds(faulty=faulty, null=null, end=end)


class _Starts(Trial):
    """A start for each round, and clean ones at the end."""

    def rounds(self) -> tuple[tuple[Round, ...], tuple[str, ...]]:
        """(the rounds, what then stands)."""
        plan, bench = self.plan, self.bench
        found: list[Round] = []
        with bench.image_from(plan.start) as image, bench.zygote.sandbox(image) as sandbox:
            for _ in range(plan.rounds):
                self._round(sandbox, self.scene(sandbox, image), found)
            self._start(sandbox, self.scene(sandbox, image), "restart", [])
            end = _paths(bench, image)
            if plan.faults and set(end) - set(found[0].paths):
                sandbox.advance_pids(bench.pid_step)
                wall = WallClock()
                wall.jump(AHEAD_S)
                bench.start(sandbox, image, "restart", patience=plan.patience, wall=wall, duty=Duty(works=False))
                end = tuple(sorted(set(end) & set(_paths(bench, image))))
        return tuple(found), end

    def _round(self, sandbox: Sandbox, scene: Scene, found: list[Round]) -> None:
        with ExitStack() as passing:
            armed = self._inject(RUN, scene, passing, passing)
            self._start(sandbox, scene, RUN, armed, passing)
        fired = bool(armed) and all(one.fired for one in self.injected[-len(armed) :])
        run = self.runs[-1]
        left = run.left if run.life is None else ()
        found.append(Round(fired=fired, paths=_paths(self.bench, scene.image), left=left))
        sandbox.advance_pids(self.bench.pid_step)


class _Within(Trial):
    """All rounds in one start of a service."""

    def rounds(self) -> tuple[tuple[Round, ...], Census | None]:
        """(the rounds, what was counted a while later); nothing where it did not live through all of them."""
        plan, bench = self.plan, self.bench
        with bench.image_from(plan.start) as image, bench.zygote.sandbox(image) as sandbox:
            scene = self.scene(sandbox, image)
            with ExitStack() as passing:
                self._inject(RUN, scene, passing, passing)
                tampers = tuple(scene.tampers)

                def again() -> Sequence[Tamper]:
                    passing.close()
                    self._inject(RUN, scene, passing, passing)
                    return tuple(scene.tampers)

                duty = Duty(heal=passing.close, asks=False, again=(again,) * (plan.rounds - 1))
                run, _ = bench.start(sandbox, image, RUN, tampers=tampers, patience=plan.patience, duty=duty)
        life = run.life
        if life is None or len(life.rounds) < plan.rounds + 1 or run.end.how != STOPPED:
            return (), None
        return tuple(Round(fired=acted, census=seen) for seen, acted in life.rounds[:-1]), life.rounds[-1][0]


def _paths(bench: Bench, image: str) -> tuple[str, ...]:
    return tuple(sorted(entry.path for entry in bench.zygote.walk(image) if entry.kind != "directory"))
