"""Kind `limit`: the system gives the target no more of something, from its start on.

Descriptors, memory (address space) and the size of a file are limits of the kernel, set on the target at its exec and
inherited by all its processes; the gate tells by counting when the kernel refuses. The number of processes is counted
per user by the kernel, so it would hit others and spare root: there the gate itself refuses, as a full `pids` group
does. Limits lie just below what clean runs use: one that forbids the very start would show nothing.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.faults.kill import Kill, crash_before
from blackstart.faults.point import JUDGED_ROLES
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during
from blackstart.gate import HERE, Caller, Match, Tamper
from blackstart.targets import Conducted

DESCRIPTORS, MEMORY, SIZE, PROCESSES = "descriptors", "memory", "size", "processes"
USUAL_DESCRIPTORS = 64
_FORKS = "fork|vfork|clone|clone3"
_RESOURCES = {DESCRIPTORS: resource.RLIMIT_NOFILE, MEMORY: resource.RLIMIT_AS, SIZE: resource.RLIMIT_FSIZE}
# The calls of each that meet the limit; all that is counted, not all that the kernel refuses.
_MEETING = {DESCRIPTORS: "opens|socket|accept|accept4", MEMORY: "mmap", SIZE: "writes|fallocate"}
_UNITS = {
    DESCRIPTORS: "open descriptors",
    MEMORY: "bytes of memory",
    SIZE: "bytes in a file",
    PROCESSES: "new processes",
}
# Files in whose making a program is killed, so that there is something to recover from.
_CRASHED = ("state", "output", "scratch")
_PAGE = 4096
_MEMORY_MIN = 16 * _PAGE


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="limit", tag_field="fault"):
    """No process of the target gets more than `most` of `what`: descriptors, memory (bytes), size (bytes of a file);
    processes: no new process or thread once so many have been made.
    """

    kind: ClassVar[str] = "limit"
    what: str
    most: int
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """The restart is not limited."""
        return False

    def __str__(self) -> str:
        return f"at most {self.most} {_UNITS[self.what]}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        orders = self.tampers()
        with scene.armed(*orders):
            yield

    def tampers(self) -> list[Tamper]:
        """The order that meets the refusals, and before it, where the limit is the kernel's, the one that sets it."""
        if self.what == PROCESSES:
            return [Tamper(match=Match(call=_FORKS), rule=parse(f"@{self.most + 1}+ raise(OSError: EAGAIN)"))]
        start = Match(call="execve|execveat")
        refused = Match(call=_MEETING[self.what], short=self.what)
        return [
            Tamper(match=refused, rule=parse(HERE), act=_is_refused),
            Tamper(match=start, rule=parse(f"@1 {HERE}"), act=self._set),
        ]

    def _set(self, caller: Caller) -> tuple[bool, str]:
        resource.prlimit(caller.process, _RESOURCES[self.what], (self.most, self.most))
        return True, ""

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: at least one call was refused."""
        refusals = [one for one in conducted.firings if one.tamper_index == first_tamper and one.delivered]
        note = f"{len(refusals)} calls were refused" if refusals else "it never needed more"
        return Injected(
            fault=str(self),
            kind=self.kind,
            hits=len(refusals),
            fired=len(refusals),
            operation=refusals[0].operation if refusals else None,
            outputs=conducted.outputs_at_firing,
            note=note,
        )


def _is_refused(caller: Caller) -> tuple[bool, str]:
    """The kernel refuses it by itself: that it does is all there is to note."""
    return True, ""


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Limits just below what the clean run used, then the same while it recovers."""
    limits = list(_processes(clean))
    if not calibration.is_service:  # a limit of the kernel stays with its processes: a service could not be healed
        limits = [*_descriptors(clean, calibration), *_size(clean, calibration), *limits, *_memory(clean)]
    crash = _crash(clean, calibration)
    for order, (what, most) in enumerate(limits):
        is_first = what not in [one for one, _ in limits[:order]]
        yield Candidate(
            fault=Limit(what=what, most=most),
            start=clean.start,
            rank=(1 if is_first else 3, 4),
            cause=("limit", what),
        )
        if crash is not None and is_first:
            yield Candidate(
                fault=Limit(what=what, most=most, phase=RESTART),
                crash=crash,
                start=clean.start,
                rank=(8, 4),
                cause=("limit during recovery", what),
            )


def _crash(clean: CleanRun, calibration: Calibration) -> Kill | None:
    """A kill in mid-work on the first file that it makes, from which a recovery could run short."""
    states = [o.masked for o in clean.trace if o.changes and calibration.roles.get(o.masked) in _CRASHED]
    return crash_before(states[0], clean) if states else None


def _descriptors(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int]]:
    """The highest that was used, where that is not the one with which it started up; and a usual low limit."""
    peak = max((o.fd for o in clean.trace), default=-1)
    own = next((o.index for o in clean.trace if calibration.roles.get(o.masked) in JUDGED_ROLES), len(clean.trace))
    needed = max((o.fd for o in clean.trace[:own]), default=-1)
    if peak > max(needed, 2):
        yield DESCRIPTORS, peak
        if peak > USUAL_DESCRIPTORS > needed:
            yield DESCRIPTORS, USUAL_DESCRIPTORS


def _size(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int]]:
    """A byte less than the largest file that it makes or extends, and half of that."""
    written = {o.masked for o in clean.trace if o.changes and not _is_empty(o)}
    sizes = [
        max(state.size for state in versions if state)
        for path, versions in clean.versions.items()
        if calibration.roles.get(path) in JUDGED_ROLES and len(set(map(_size_of, versions))) > 1
    ]
    largest = max(sizes, default=0)
    if written and largest > 1:
        yield SIZE, largest - 1
        if largest > 3:
            yield SIZE, largest // 2


def _is_empty(operation: Operation) -> bool:
    return operation.size == 0


def _size_of(state: object) -> int:
    return getattr(state, "size", -1)


def _processes(clean: CleanRun) -> Iterator[tuple[str, int]]:
    """Not even one, and all but the last."""
    made = sum(operation.call in _FORKS.split("|") for operation in clean.trace)
    if made:
        yield PROCESSES, made - 1
    if made > 1:
        yield PROCESSES, 0


def _memory(clean: CleanRun) -> Iterator[tuple[str, int]]:
    """A little less than it used at most, and half of what it took for its work."""
    began, peak = clean.memory_bytes
    if began and peak - began >= _MEMORY_MIN:
        yield MEMORY, peak - _PAGE
        yield MEMORY, began + (peak - began) // 2 // _PAGE * _PAGE
