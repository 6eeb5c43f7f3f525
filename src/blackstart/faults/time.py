"""Kind `time`: the wall clock jumps while the target runs, as NTP, an operator or a resumed machine make it do.

Only the wall clock: the monotonic clock, sleeps and timeouts go on, as they do when a real clock is set. It is the
gate that answers the target's readings of the time, so that it works for every program, static ones too.

The monotonic clock never jumps while a program runs. But it counts from the machine's start: it may be large, and after
a restart of the machine it is small again. A time namespace does that; it is chosen when the program starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.units import plural
from blackstart.faults.kill import crash_before
from blackstart.faults.point import TRIED_ROLES, Point, point_of, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during, fired_in_gate
from blackstart.gate import HERE, Caller, Match, Tamper, WallClock
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Conducted

# Back by an hour (a clock that had been wrong, a time zone in the hardware clock); ahead by a day (a machine resumed).
JUMPS_S = (-3600.0, 86400.0)
# More milliseconds than 32 bits hold.
UPTIME_S = 50 * 86400


class Jump(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="time", tag_field="fault"):
    """The wall clock is set ahead by so many seconds before this point; back if they are negative."""

    kind: ClassVar[str] = "time"
    point: Point
    seconds: float
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """At the restart the clock is right."""
        return False

    def __str__(self) -> str:
        how = "back" if self.seconds < 0 else "ahead"
        return f"the wall clock jumps {abs(self.seconds):.0f} s {how} before {self.point}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        wall = WallClock()

        def jump(_: Caller) -> tuple[bool, str]:
            wall.jump(self.seconds)
            return True, ""

        order = msgspec.structs.replace(self.point.tamper(f"@{self.point.nth} {HERE}"), act=jump)
        try:
            scene.wall = wall
            with scene.armed(order):
                yield
        finally:
            wall.offset_s = 0.0
            scene.wall = None

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the time was read after the jump, and nobody relied on the kernel's idea of it."""
        account = fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)
        wall = conducted.wall
        if not account.fired or wall is None:
            return account
        if wall.trouble:
            return msgspec.structs.replace(account, fired=0, note=wall.trouble)
        if wall.waits:
            note = "it waits until a time of the wall clock, which only the kernel's own clock could move"
            return msgspec.structs.replace(account, fired=0, note=note)
        note = f"the time was read {plural(wall.reads, 'time')} after the jump"
        return msgspec.structs.replace(account, fired=min(wall.reads, 1), note=note)


class Uptime(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="uptime", tag_field="fault"):
    """The monotonic clock is ahead by so many seconds from the target's start on; at the restart it is as usual."""

    kind: ClassVar[str] = "time"
    seconds: int = UPTIME_S

    @property
    def phase(self) -> str:
        """Always the first start: a running clock cannot be moved."""
        return RUN

    @property
    def lasting(self) -> bool:
        """The machine has been started anew before the restart."""
        return False

    def __str__(self) -> str:
        return f"the machine has been up for {self.seconds // 86400} days more, and is started anew before the restart"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        if scene.zygote.isolation == LANDLOCK or not os.path.exists("/proc/self/timens_offsets"):
            raise CannotInject("this machine allows no time namespace")
        first = Tamper(match=Match(call="opens|exit_group"), rule=parse(f"@1 {HERE}"), act=_has_own_clock)
        try:
            scene.uptime_s = self.seconds
            with scene.armed(first):
                yield
        finally:
            scene.uptime_s = 0

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the program was seen in a time namespace of its own. Whether it asks that clock is not seen."""
        return fired_in_gate(self.kind, str(self), conducted, first_tamper)


def _has_own_clock(caller: Caller) -> tuple[bool, str]:
    """A kernel before Linux 6.1 lets only children into the namespace."""
    is_own = os.readlink(f"/proc/{caller.process}/ns/time") != os.readlink("/proc/self/ns/time")
    return is_own, "" if is_own else "its monotonic clock is the machine's"


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Jumps in the middle of the run's work, at its end and at its beginning, if the time is read at all after that;
    and a machine that has been up for long, where something is kept that the restart could read.
    """
    keeps = any(calibration.roles.get(o.masked) == "state" for o in clean.trace if o.changes)
    # Who asks which start of the machine this is would be told the same one twice.
    if keeps and not any(o.path.endswith("/boot_id") for o in clean.trace):
        yield Candidate(fault=Uptime(), start=clean.start, rank=(5, 6), cause=("time", "uptime"))
    if not calibration.clock_reads:
        return
    work = [o for o in clean.trace if o.changes and calibration.roles.get(o.masked, "") in TRIED_ROLES]
    work = work or [o for o in clean.trace if o.masked == "stdout"]
    picked = (work[len(work) // 2], work[-1], work[0]) if work else ()
    places = {operation.index: operation for operation in picked}
    for late, operation in enumerate(places.values()):
        for order, seconds in enumerate(JUMPS_S):
            yield Candidate(
                fault=Jump(point=point_of(operation), seconds=seconds),
                start=clean.start,
                rank=(3 + 2 * late + order, 6),
                cause=("time", str(seconds)),
            )
        crash = crash_before(operation.masked, clean)
        if crash is not None and not late:
            yield Candidate(
                fault=Jump(point=unplanned(point_of(operation)), seconds=JUMPS_S[0], phase=RESTART),
                crash=crash,
                start=clean.start,
                rank=(9, 6),
                cause=("time during recovery",),
            )
