"""Kind `kill`: SIGKILL to the whole tree, just before one of the target's operations.

The state before operation n + 1 is the state after operation n, so killing *before* each changing operation, before
each output and before the end covers every state that a kill can leave between two operations. All that the kernel
has accepted is kept: a kill is no power cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.masking import Masker
from blackstart.core.trace import SOCKET, SYNCING, Operation
from blackstart.faults.point import TRIED_ROLES, Point, point_of, repeated, spread, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during, fired_in_gate
from blackstart.targets import Conducted

# How a service answers whoever uses it.
_ANSWERING = ("write", "writev", "sendto", "sendmsg")


class Kill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="kill", tag_field="fault"):
    """SIGKILL to every process of the target before this point."""

    kind: ClassVar[str] = "kill"
    point: Point
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """A kill is over when it is done."""
        return False

    def __str__(self) -> str:
        return f"kill before {self.point}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        tamper = self.point.tamper(f"@{self.point.nth} kill")
        with scene.armed(tamper):
            yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        return fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Kills before each changing operation, output and end of this clean run; then kills during recovery."""
    worth = list(_worth(clean, calibration))
    for point, places in spread(worth, clean):
        yield Candidate(
            fault=Kill(point=point),
            start=clean.start,
            rank=(_rank(point, calibration), 0),
            cause=("kill", point.path, point.call),
            path=point.path,
            places=places,
        )
    yield from _during_recovery(worth, clean, calibration)


def _during_recovery(worth: list[Operation], clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Killed in mid-work, then killed again while it recovers: the restart repeats the run's own operations."""
    for point, places in spread(repeated(clean, (o for o in worth if o.changes))):
        crash = Kill(point=point) if clean.life is None else crash_before(point.path, clean)
        if crash is None:
            continue
        yield Candidate(
            fault=Kill(point=unplanned(point), phase=RESTART),
            crash=crash,
            start=clean.start,
            rank=(_rank(point, calibration) + 6, 1),
            cause=("kill during recovery", point.path, point.call),
            path=point.path,
            places=places,
        )


def crash_before(path: str, clean: CleanRun) -> Kill | None:
    """A kill in mid-work on this path, for faults that fall into the recovery from it; None if nothing changes it."""
    changing = [operation for operation in clean.trace if operation.masked == path and operation.changes]
    if not changing:
        return None
    middle = changing[len(changing) // 2]
    return Kill(point=point_of(middle))


def _worth(clean: CleanRun, calibration: Calibration) -> Iterator[Operation]:
    """Operations before which a kill may leave another state than before the others, or break another promise."""
    masker = Masker(calibration.mask)
    touched = False
    for operation in clean.trace:
        places = (operation.masked, masker(operation.path2))
        judged = any(calibration.roles.get(place, "") in TRIED_ROLES for place in places)
        changes = judged and operation.changes
        answers = clean.life is not None and operation.kind == SOCKET and operation.call in _ANSWERING
        ends = operation.masked == "stdout" or operation.call == "exit_group" or (judged and operation.call == "close")
        if changes or (judged and operation.call in SYNCING) or (touched and ends) or answers:
            yield operation
        touched = touched or changes


def _rank(point: Point, calibration: Calibration) -> int:
    """Small first: operations on state, then on output, then the rest."""
    role = calibration.roles.get(point.path, "")
    operation = point.operation
    assert operation is not None
    base = {"state": 0, "output": 1, "lock": 1, "scratch": 2, "cache": 3}.get(role, 4)
    return base if operation.changes or operation.call == "close" else base + 2
