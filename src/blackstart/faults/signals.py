"""Kind `signal`: TERM, INT or HUP, each twice within a second: during start-up, in mid-work, and on the way out.

An operator presses Ctrl-C again, a supervisor repeats itself, a terminal closes while a script stops what it started.
The signal goes to the main process alone, while it makes one of its calls (which is held up for a moment); on a
service's way out, just after it was told to stop.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.trace import SOCKET, Operation
from blackstart.core.units import plural
from blackstart.faults.point import TRIED_ROLES, Point, point_of
from blackstart.faults.scene import RUN, Candidate, Scene, fired_in_gate
from blackstart.targets import Conducted

NAMES = ("TERM", "INT", "HUP")
START, WORK, STOP = "start", "work", "stop"
_HELD = "sleep(20ms)"
_ANSWERING = ("write", "writev", "sendto", "sendmsg")


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="signal", tag_field="fault"):
    """This signal twice, at this moment; point: the call in which the first one comes, none on a service's way out."""

    kind: ClassVar[str] = "signal"
    name: str
    moment: str
    point: Point | None = None

    @property
    def phase(self) -> str:
        """Always the first start."""
        return RUN

    @property
    def lasting(self) -> bool:
        """A signal is over when it is sent."""
        return False

    @property
    def number(self) -> int:
        """Of the signal."""
        return int(signal.Signals[f"SIG{self.name}"])

    def __str__(self) -> str:
        where = {START: "during start-up", WORK: "in mid-work", STOP: "on the way out"}[self.moment]
        return f"{self.name} twice {where}" + (f", first in {self.point}" if self.point else "")

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        numbers = (self.number, self.number)
        index = len(scene.tampers)
        try:
            if self.point is None:
                scene.signals_at_stop.extend(numbers)
                yield
                return
            scene.signals[index] = numbers
            with scene.armed(self.point.tamper(f"@{self.point.nth} {_HELD}")):
                yield
        finally:
            scene.signals_at_stop.clear()
            scene.signals.pop(index, None)

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        sent = sum(number == self.number for number in conducted.signals)
        if self.point is None:
            sent -= self.number == signal.SIGTERM  # the order to stop itself
            note = f"sent {plural(sent, 'time')}" if sent > 0 else "it had ended before"
            return Injected(fault=str(self), kind=self.kind, hits=sent, fired=max(sent, 0), note=note)
        found = fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)
        note = found.note or f"sent {plural(sent, 'time')} before it had ended"
        return msgspec.structs.replace(found, fired=min(found.fired, sent), note=note)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each signal at each moment."""
    for moment, operation in _moments(clean, calibration):
        point = None
        if operation is not None:
            point = point_of(operation)
        for order, name in enumerate(NAMES):
            yield Candidate(
                fault=Signal(name=name, moment=moment, point=point),
                start=clean.start,
                rank=(order + 1, 1),
                cause=("signal", name, moment),
                path=point.path if point else "",
            )


def _moments(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, Operation | None]]:
    """The moments of this run, each with the call in which it falls."""
    life = clean.life
    touching = [o for o in clean.trace if calibration.roles.get(o.masked, "") in TRIED_ROLES]
    changing = [o for o in touching if o.changes]
    if life is None:
        if touching:
            yield START, touching[0]
        if len(changing) > 1:
            yield WORK, changing[len(changing) // 2]
            yield STOP, changing[-1]
        return
    early = [o for o in touching if o.at_s < life.ready_s]
    if early:
        yield START, early[0]
    answers = [o for o in clean.trace if o.kind == SOCKET and o.call in _ANSWERING]
    busy = _between(changing, life.ready_s, life.stop_s) or _between(answers, life.ready_s, life.stop_s)
    if busy:
        yield WORK, busy[len(busy) // 2]
    yield STOP, None


def _between(operations: list[Operation], begin_s: float, end_s: float) -> list[Operation]:
    return [operation for operation in operations if begin_s < operation.at_s < end_s]
