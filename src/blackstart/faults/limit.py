"""Kind `limit`: the system gives the target no more of something.

Descriptors, memory (address space) and the size of a file are limits of the kernel, inherited by all its processes;
the gate tells by counting when the kernel refuses. A job has them from its exec on. A service gets them when it is
ready, as no more than it has then, and loses them again: only the soft limit is lowered, which can be raised back.
The number of processes is counted per user by the kernel, so it would hit others and spare root: there the gate itself
refuses, as a full `pids` group does. Limits lie just below what clean runs use: one that forbids the very start would
show nothing.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.trace import Operation
from blackstart.core.units import format_size, plural
from blackstart.faults.kill import Kill, crash_before
from blackstart.faults.point import TRIED_ROLES, repeated
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during
from blackstart.gate import HERE, Caller, Match, Tamper
from blackstart.gate import calls as tables
from blackstart.targets import Conducted

DESCRIPTORS, MEMORY, SIZE, PROCESSES = "descriptors", "memory", "size", "processes"
USUAL_DESCRIPTORS = 64
_FORKS = "fork|vfork|clone|clone3"
_RESOURCES = {DESCRIPTORS: resource.RLIMIT_NOFILE, MEMORY: resource.RLIMIT_AS, SIZE: resource.RLIMIT_FSIZE}
# The calls of each that meet the limit; all that is counted, not all that the kernel refuses.
_MEETING = {DESCRIPTORS: "opens|socket|accept|accept4", MEMORY: "mmap", SIZE: "writes|fallocate"}
_OPENING = tables.OPENS | {"socket", "accept", "accept4"}
# What is limited, after how much of it.
_WHAT = {MEMORY: "of memory", SIZE: "in a file"}
_COUNTED = {DESCRIPTORS: ("open descriptor", ""), PROCESSES: ("new process", "new processes")}
# Files in whose making a program is killed, so that there is something to recover from.
_CRASHED = ("state", "output", "scratch")
_PAGE = 4096
_MEMORY_MIN = 16 * _PAGE


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="limit", tag_field="fault"):
    """No process of the target gets more than `most` of `what`: descriptors, memory (bytes), size (bytes of a file);
    processes: no new process or thread once so many have been made. heals: of a service, which gets it back: in its
    first start descriptors and memory are then counted beyond what it has when it is ready.
    """

    kind: ClassVar[str] = "limit"
    what: str
    most: int
    phase: str = RUN
    heals: bool = False

    @property
    def lasting(self) -> bool:
        """The restart is not limited."""
        return False

    @property
    def is_beyond(self) -> bool:
        """Whether it is counted from what each process has when the service is ready."""
        return self.heals and self.phase == RUN and self.what in (DESCRIPTORS, MEMORY)

    def __str__(self) -> str:
        if self.what in _COUNTED:
            noun, many = _COUNTED[self.what]
            much, nothing = plural(self.most, f"more {noun}" if self.is_beyond else noun, many), f"no more {noun}s"
        else:
            more = "more " if self.is_beyond else ""
            much, nothing = f"{format_size(self.most)} {more}{_WHAT[self.what]}", f"no more bytes {_WHAT[self.what]}"
        if self.is_beyond:
            return f"{f'at most {much}' if self.most else nothing} than when it is ready"
        return f"at most {much}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        lowered = _Lowered(self, scene.processes)
        at_ready = self.heals and self.phase == RUN and self.what != PROCESSES
        before = list(scene.when_ready)
        try:
            if at_ready:
                scene.when_ready.append(lowered.lower)
            with scene.armed(*self.tampers(None if at_ready else lowered)):
                yield
        finally:
            scene.when_ready[:] = before
            lowered.raise_again()

    def tampers(self, lowered: _Lowered | None = None) -> list[Tamper]:
        """The order that meets the refusals, and after it, where the limit is set at the exec, the one that does."""
        if self.what == PROCESSES:
            return [Tamper(match=Match(call=_FORKS), rule=parse(f"@{self.most + 1}+ raise(OSError: EAGAIN)"))]
        refused = Match(call=_MEETING[self.what], short=self.what)
        orders = [Tamper(match=refused, rule=parse(HERE), act=_is_refused)]
        if lowered is not None:
            start = Match(call="execve|execveat")
            orders.append(Tamper(match=start, rule=parse(f"@1 {HERE}"), act=lowered.at_exec))
        return orders

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: at least one call was refused."""
        refusals = [one for one in conducted.firings if one.tamper_index == first_tamper and one.delivered]
        note = f"{plural(len(refusals), 'call')} refused" if refusals else "it never needed more"
        return Injected(
            fault=str(self),
            kind=self.kind,
            hits=len(refusals),
            fired=len(refusals),
            operation=refusals[0].operation if refusals else None,
            outputs=conducted.outputs_at_firing,
            note=note,
        )


class _Lowered:
    """The limits of one start's processes, and what they were before."""

    def __init__(self, limit: Limit, processes: Callable[[], list[int]]) -> None:
        self._limit, self._processes = limit, processes
        self._was: dict[int, tuple[int, int]] = {}  # the limit that was set -> what it was before

    def at_exec(self, caller: Caller) -> tuple[bool, str]:
        """Set it; a job's for good, so that it cannot raise it by itself."""
        self._set(caller.process, self._limit.most, is_hard=not self._limit.heals)
        return True, ""

    def lower(self) -> bool:
        """Set it on all that live; whether anybody does."""
        processes = self._processes()
        for process in processes:
            with suppress(OSError):  # it ended meanwhile
                has = _has(process, self._limit.what) if self._limit.is_beyond else 0
                self._set(process, has + self._limit.most, is_hard=False)
        return bool(self._was)

    def _set(self, process: int, most: int, *, is_hard: bool) -> None:
        which = _RESOURCES[self._limit.what]
        if is_hard:
            resource.prlimit(process, which, (most, most))
            return
        soft, hard = resource.prlimit(process, which)
        resource.prlimit(process, which, (most, hard))
        self._was.setdefault(most, (soft, hard))

    def raise_again(self) -> None:
        """Give it back to all that have it still, those that were born with it too."""
        which = _RESOURCES.get(self._limit.what, resource.RLIMIT_NOFILE)
        for process in self._processes() if self._was else ():
            with suppress(OSError):
                was = self._was.get(resource.prlimit(process, which)[0])
                if was is not None:
                    resource.prlimit(process, which, was)


def _has(process: int, what: str) -> int:
    """The descriptors that a process has, holes among them counted (who polls them all must still be able to); or the
    bytes that it has mapped."""
    if what == DESCRIPTORS:
        return 1 + max(map(int, os.listdir(f"/proc/{process}/fd")))
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[0]) * _PAGE


def _is_refused(caller: Caller) -> tuple[bool, str]:
    """The kernel refuses it by itself: that it does is all there is to note."""
    return True, ""


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Limits just below what the clean run used, then the same while it recovers."""
    is_service = calibration.is_service
    limits = list(_of_service(clean, calibration) if is_service else _of_job(clean, calibration))
    for order, (what, most) in enumerate(limits):
        is_first = what not in [one for one, _ in limits[:order]]
        yield Candidate(
            fault=Limit(what=what, most=most, heals=is_service and what != PROCESSES),
            start=clean.start,
            rank=(1 if is_first else 3, 4),
            cause=("limit", what),
        )
    crash = crash_in_mid_work(clean, calibration)
    if crash is None:
        return
    recovery = (*_descriptors(clean, calibration), *_processes(clean)) if is_service else limits
    first: dict[str, int] = {}
    for what, most in recovery:
        first.setdefault(what, most)
    for what, most in first.items():
        yield Candidate(
            fault=Limit(what=what, most=most, phase=RESTART, heals=is_service and what != PROCESSES),
            crash=crash,
            start=clean.start,
            rank=(8, 4),
            cause=("limit during recovery", what),
        )


def _of_job(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int]]:
    yield from _descriptors(clean, calibration)
    yield from _size(clean, calibration)
    yield from _processes(clean)
    yield from _memory(clean)


def _of_service(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int]]:
    """No more than it has when it is ready; it is there to serve, so what it asks for after that is its work."""
    ready_s = clean.life.ready_s if clean.life else 0.0
    later = [o for o in clean.trace if o.at_s >= ready_s]
    needed = max((o.fd for o in clean.trace if o.at_s < ready_s), default=2)
    if any(o.call in _OPENING for o in later):
        yield DESCRIPTORS, 0
        if max(o.fd for o in later) > USUAL_DESCRIPTORS > needed:
            yield DESCRIPTORS, USUAL_DESCRIPTORS - 1 - needed
    if later:
        yield MEMORY, 0
    yield from _size(clean, calibration)
    yield from _processes(clean)


def crash_in_mid_work(clean: CleanRun, calibration: Calibration) -> Kill | None:
    """A kill on the first file that it makes, from which a recovery could run short."""
    states = [o.masked for o in clean.trace if o.changes and calibration.roles.get(o.masked) in _CRASHED]
    return crash_before(states[0], clean) if states else None


def _descriptors(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, int]]:
    """The highest that was used, where that is not the one with which it started up; and a usual low limit.

    Of a service: to get ready.
    """
    trace = list(repeated(clean, clean.trace))
    peak = max((o.fd for o in trace), default=-1)
    own = next((k for k, o in enumerate(trace) if calibration.roles.get(o.masked) in TRIED_ROLES), len(trace))
    needed = max((o.fd for o in trace[:own]), default=-1)
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
        if calibration.roles.get(path) in TRIED_ROLES and len(set(map(_size_of, versions))) > 1
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
