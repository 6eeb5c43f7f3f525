"""Kind `limit`, for the whole tree: little memory or little of a processor, by a control group of the target's own.

What a container or a unit of the system does. Where memory ends, the kernel kills one process of the tree, which one
is its own choice; under pressure who asks for more waits instead. Files lie in memory here and would count, so a job
is only limited where what it writes is little beside the memory that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.errors import SandboxLimit
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.units import format_size
from blackstart.faults.limit import crash_in_mid_work
from blackstart.faults.point import Point, point_of
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during
from blackstart.gate import HERE, Caller, Match, Tamper
from blackstart.sandbox import groups
from blackstart.targets import Conducted

RESIDENT, PRESSURE, CPU = "resident", "pressure", "cpu"
PERCENT = 10
_GROWTH_MIN, _WRITTEN_SHARE = 4 << 20, 8
_COUNTED = {RESIDENT: "killed", PRESSURE: "waited", CPU: "throttled"}
_WORDS = {
    RESIDENT: "at most {} more of memory for all its processes",
    PRESSURE: "whoever needs more than {} more of memory waits until healed",
    CPU: "at most {} of a processor for all its processes",
}
_TOLD = {
    RESIDENT: "the kernel killed {} of its processes",
    PRESSURE: "it had to wait for memory: the kernel counted {}",
    CPU: "it was held up for {} x 0.1 s",
}


class Scarce(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="scarce", tag_field="fault"):
    """All processes of the target together get at most `most` of `what`: resident (bytes more than they have then;
    one is killed), pressure (the same; who needs more waits), cpu (percent of one).

    point: from when on; None: as soon as a service is ready, or from the exec where it falls into the recovery.
    """

    kind: ClassVar[str] = "limit"
    what: str
    most: int
    point: Point | None = None
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """The restart is not limited."""
        return False

    def __str__(self) -> str:
        since = f" from {self.point} on" if self.point else ""
        most = f"{self.most} %" if self.what == CPU else format_size(self.most)
        return f"{_WORDS[self.what].format(most)}{since}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        before = list(scene.when_ready)
        with ExitStack() as stack:
            try:
                controller = groups.CPU if self.what == CPU else groups.MEMORY
                group = stack.enter_context(groups.made(controller, noted=scene.noted))
            except SandboxLimit as error:
                raise CannotInject(error.what) from None
            scene.group = group
            try:
                yield from self._armed(scene, group)
            finally:
                scene.when_ready[:] = before

    def _armed(self, scene: Scene, group: groups.Group) -> Iterator[None]:
        def limit(_: Caller | None = None) -> tuple[bool, str]:
            if self.what == CPU:
                group.limit_cpu(self.most)
            else:
                group.limit_memory(self.most, waits=self.what == PRESSURE)
            return True, ""

        def take(caller: Caller) -> tuple[bool, str]:
            group.take(caller.process)
            return limit() if at_exec else (True, "")

        def at_ready() -> bool:
            with suppress(OSError):  # what it has cannot be taken from it at this moment
                return limit()[0]
            return False

        at_exec = self.point is None and (self.phase == RESTART or self.what == CPU)
        orders = [Tamper(match=Match(call="execve|execveat"), rule=parse(f"@1 {HERE}"), act=take)]
        if self.point is not None:
            orders.append(msgspec.structs.replace(self.point.tamper(f"@{self.point.nth} {HERE}"), act=limit))
        elif not at_exec:
            scene.when_ready.append(at_ready)
        with scene.armed(*orders):
            yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the kernel counted that it killed, let wait or held up; what was reclaimed hurt nobody."""
        fired = conducted.group.get(_COUNTED[self.what], 0)
        note = _TOLD[self.what].format(fired) if fired else "it never needed more"
        hits = conducted.group.get("met", 0) or fired
        return Injected(
            fault=str(self), kind=self.kind, hits=hits, fired=fired, outputs=conducted.outputs_at_firing, note=note
        )


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each as far as this machine can do it."""
    for what, most, point in (*_memory(clean, calibration), *_cpu(calibration)):
        yield Candidate(
            fault=Scarce(what=what, most=most, point=point), start=clean.start, rank=(2, 4), cause=("limit", what)
        )
    crash = crash_in_mid_work(clean, calibration)
    if crash is not None:
        for what, most, _ in _cpu(calibration):
            yield Candidate(
                fault=Scarce(what=what, most=most, phase=RESTART), crash=crash, start=clean.start, rank=(8, 4),
                cause=("limit during recovery", what),
            )  # fmt: skip


def _memory(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int, Point | None]]:
    if groups.MEMORY not in calibration.groups:
        return
    if calibration.is_service:
        yield RESIDENT, 0, None
        yield PRESSURE, 0, None
        return
    began, peak = clean.resident_bytes
    first = next((o for o in clean.trace if o.changes), None)
    growth, written = peak - began, sum(o.size for o in clean.trace if o.changes)
    if began and first is not None and growth >= max(_GROWTH_MIN, _WRITTEN_SHARE * written):
        half = 1 << ((growth // 2).bit_length() - 1)  # roughly: measured again it is not the same to the page
        yield RESIDENT, half, point_of(first)


def _cpu(calibration: Calibration) -> Iterator[tuple[str, int, Point | None]]:
    """Of a service alone: a job would only take ten times as long."""
    if groups.CPU in calibration.groups and calibration.is_service:
        yield CPU, PERCENT, None
