"""Kind `disk`: the disk on which the target works is really full, from a chosen write on.

Each trial's files lie on a file system in memory of their own. Just before the chosen call its size becomes what is in
use (and, for larger writes, half of what the call needs), so the kernel itself refuses: short writes, room that comes
back when a file is removed, writes in place that go on. It has no room for bytes, or for new entries. Something may
make room again after the first refusal; before the restart there always is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.core.units import format_size, plural
from blackstart.faults.kill import crash_before
from blackstart.faults.point import TRIED_ROLES, Point, spread, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during, fired_in_gate
from blackstart.gate import GROWING, HERE, Caller, Match, Tamper
from blackstart.gate.calls import COPIES, WRITES
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Conducted

BYTES, ENTRIES = "bytes", "entries"
_REFUSED = "refused"
_PAGE = 4096
_SHARED_MEMORY = "/dev/shm/"
_LINKS = ("link", "linkat")


class Full(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="disk", tag_field="fault"):
    """Before this point the disk has room for `room` more bytes (pages), or for no more entries.

    what: bytes or entries; freed: after the first refusal there is room again.
    """

    kind: ClassVar[str] = "disk"
    point: Point
    what: str = BYTES
    room: int = 0
    freed: bool = False
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """Before the restart there is room again."""
        return False

    def __str__(self) -> str:
        left = f"but {format_size(self.room)}" if self.room else "" if self.what == BYTES else "for new entries"
        until = "until the first refusal" if self.freed else "until healed"
        return " ".join(f"the disk is full {left} from {self.point} on {until}{during(self.phase)}".split())

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        if scene.zygote.isolation == LANDLOCK:
            raise CannotInject("without namespaces the disk is the machine's own, which is never filled")
        try:
            with scene.armed(*self.tampers(scene)):
                yield
        finally:
            scene.zygote.set_room(scene.image)

    def tampers(self, scene: Scene) -> list[Tamper]:
        """The filling at the point, and the watch for later refusals, which may end it."""

        def fill(caller: Caller) -> tuple[bool, str]:
            if self.what == BYTES:
                scene.zygote.set_room(scene.image, free_bytes=self.room)
            else:
                scene.zygote.set_room(scene.image, free_inodes=0)
            return True, _REFUSED if caller.is_short("room") else ""

        def refused(_: Caller) -> tuple[bool, str]:
            if self.freed:
                scene.zygote.set_room(scene.image)
            return True, _REFUSED

        filling = self.point.tamper(f"@{self.point.nth} {HERE}")
        short = Match(call="growing", kind="file|directory", opening="new", short="room")
        return [
            msgspec.structs.replace(filling, act=fill),
            Tamper(match=short, rule=parse(HERE), after=len(scene.tampers), act=refused),
        ]

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the kernel refused at least one call for want of room."""
        account = fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)
        own = (first_tamper, first_tamper + 1)
        refusals = sum(one.tamper_index in own and one.note == _REFUSED for one in conducted.firings)
        if not account.fired:
            return account
        note = f"{plural(refusals, 'call')} refused" if refusals else "nothing needed room after that"
        return msgspec.structs.replace(account, fired=refusals, note=note)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Full before each distinct call that needs room, so that every byte count of the run is swept."""
    if any(o.call == "ftruncate" and o.path.startswith(_SHARED_MEMORY) for o in clean.trace):
        return  # shared memory lies on the same disk here, and on another one everywhere else
    worth = [o for o in clean.trace if _needs_room(o) and calibration.roles.get(o.masked, "") in TRIED_ROLES]
    for point, places in spread(worth, clean):
        operation = point.operation
        assert operation is not None
        rank = {"state": 1, "output": 2, "scratch": 2, "log": 4}.get(calibration.roles.get(point.path, ""), 3)
        for order, fault in enumerate(_of(point, operation)):
            yield Candidate(
                fault=fault,
                start=clean.start,
                rank=(rank + order, 5),
                cause=("disk", fault.what, str(fault.freed), point.path),
                path=point.path,
                places=places,
            )
        crash = crash_before(point.path, clean)
        if crash is not None and point.nth == 1:
            yield Candidate(
                fault=Full(point=unplanned(point), what=_what(operation), phase=RESTART),
                crash=crash,
                start=clean.start,
                rank=(rank + 6, 5),
                cause=("disk during recovery", point.path),
                path=point.path,
            )


def _needs_room(operation: Operation) -> bool:
    if operation.call not in GROWING or operation.call in _LINKS or "xattr" in operation.call:
        return False
    return operation.size > 0 if operation.call in WRITES else operation.changes


def _what(operation: Operation) -> str:
    return BYTES if operation.call in WRITES | COPIES or operation.call == "fallocate" else ENTRIES


def _of(point: Point, operation: Operation) -> Iterator[Full]:
    what = _what(operation)
    yield Full(point=point, what=what)
    if what == BYTES:
        yield Full(point=point, freed=True)
        if operation.size >= 2 * _PAGE:
            yield Full(point=point, room=operation.size // 2 // _PAGE * _PAGE)
