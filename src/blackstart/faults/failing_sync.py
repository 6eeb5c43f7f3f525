"""Kind `power`, a sync that fails first: EIO, the pages are dropped, the program goes on, and then the power goes.

A program that takes a later sync that works for a proof has lost what the first one dropped (fsyncgate). How it goes on
is not in the recording of a clean run, so the run is really made, under the gate, and its own recording is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.trace import FILE, Operation
from blackstart.faults.point import TRIED_ROLES, Point, spread
from blackstart.faults.power import describe
from blackstart.faults.scene import RUN, Candidate, Scene, fired_in_gate
from blackstart.power import OUTPUT, SYNC, Recording, State, model
from blackstart.power.models import FAILING
from blackstart.targets import Conducted

_SYNCS = frozenset(("fsync", "fdatasync"))
# (outputs after the failure until the cut, 0: the end; whether all else is on the disk), most telling first.
_CUTS = ((1, True), (0, True), (0, False))


class FailingSync(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="failing-sync", tag_field="fault"):
    """The sync at this point reports EIO under this model, and later the power goes.

    outputs: how many outputs follow before it does (0, or more than there are: it goes at the end); keeps: all that
    was not dropped is on the disk then, else only what other syncs made sure.
    """

    kind: ClassVar[str] = "power"
    point: Point
    model: str
    outputs: int = 0
    keeps: bool = True
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """The disk stays as it was left."""
        return False

    def __str__(self) -> str:
        when = f"after {self.outputs} more output" if self.outputs else "at the end"
        what = "only what it dropped" if self.keeps else "all that no other sync kept"
        return f"{self.point} reports EIO under {self.model}, then a power cut {when} loses {what}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        order = self.point.tamper(f"@{self.point.nth} raise(OSError: EIO)")
        with scene.armed(order):
            yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        return fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)

    def told(self, injected: Injected, recording: Recording, state: State | None) -> Injected:
        """The account with the cut, which needs both: the sync failed, and something was dropped."""
        if injected.fired and not recording.dropped:
            return msgspec.structs.replace(injected, fired=0, note="nothing was left for this sync to write")
        return msgspec.structs.replace(injected, cut=describe(recording, state) if state is not None else None)

    def is_it(self, operation: Operation) -> bool:
        """Whether this is the sync that fails."""
        return (operation.call, operation.masked, operation.nth) == (self.point.call, self.point.path, self.point.nth)

    def state(self, recording: Recording) -> State | None:
        """The crash state in the recording of the run in which the sync failed; None if there is none."""
        failed = next((m.index for m in recording.micros if m.kind == SYNC and m.fails), None)
        if failed is None:
            return None
        outputs = [m.index for m in recording.micros[failed:] if m.kind == OUTPUT]
        # Who says less after the failure, as whoever stops there, has promised less: then the end is the place.
        cut = outputs[self.outputs - 1] + 1 if 0 < self.outputs <= len(outputs) else len(recording.micros)
        order = recording.order(model(self.model))
        mask = order.effects & ((1 << cut) - 1) if self.keeps else order.sure(cut)
        return State(cut, mask, self.model)


def candidates(clean: CleanRun, calibration: Calibration, models: tuple[str, ...]) -> Iterator[Candidate]:
    """Each distinct sync of a file, under each of these models that lets one fail (none named: all)."""
    chosen = [name for name in models or FAILING if name in FAILING]
    syncs = [o for o in clean.trace if o.call in _SYNCS and o.kind == FILE]
    worth = [o for o in syncs if calibration.roles.get(o.masked, "") in TRIED_ROLES]
    for point, places in spread(worth):
        for position, (outputs, keeps) in enumerate(_CUTS):
            for name in chosen:
                yield Candidate(
                    fault=FailingSync(point=point, model=name, outputs=outputs, keeps=keeps),
                    start=clean.start,
                    rank=(2 + position, 4),
                    cause=("failing sync", name, point.path, point.call),
                    path=point.path,
                    places=places,
                )
