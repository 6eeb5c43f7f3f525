"""One sandbox that serves many crash states in turn: what costs most in a trial of a power cut is done once.

Between two states everything alive is killed, what the target changed is found by comparing every entry's times (files
are built with a time in the past, so that no change can hide in the same tick), and put back. Where it changed
something that is no state directory, the lane is made anew. A lane only clears states: whatever does not pass
here is tried again in a sandbox of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from blackstart.core.history import EXITED, KILLED, End, History, Run
from blackstart.core.reading import Reading
from blackstart.faults.power import PowerCut
from blackstart.power import Builder, Recording, State
from blackstart.sandbox import Sandbox
from blackstart.targets import Command, Conducted, Patience, conduct
from blackstart.trials.bench import CHECK_PATIENCE, Bench
from blackstart.trials.plan import Plan

_ELSEWHERE = ("/tmp", "/var/tmp", "/run", "/dev/shm")
Mark = tuple[int, int, int, int, int]


class Lane:
    """Built for one start state; `put` makes its image equal to a crash state."""

    def __init__(self, bench: Bench, start: str, recording: Recording) -> None:
        self._bench = bench
        self._start = start
        self._recording = recording
        self._name = f"lane-{start}"
        self._open()

    def _open(self) -> None:
        zygote = self._bench.zygote
        zygote.copy(self._start, self._name)
        roots = self._recording.tree.roots
        self._places = {root: place for root in roots if (place := zygote.path(self._name, root))}
        self._others = {p: place for p in _ELSEWHERE if p not in roots and (place := zygote.path(self._name, p))}
        recording = self._recording
        self._builder = Builder(recording, self._places, contents=recording.contents, names=recording.names)
        self.sandbox: Sandbox = zygote.sandbox(self._name)
        self._outside = self._look_outside()
        self._marks = _marks(self._places)

    def _look_outside(self) -> object:
        return self.sandbox.changes(), _marks(self._others)

    @property
    def image(self) -> str:
        """The image that the sandbox stands on."""
        return self._name

    def put(self, state: State) -> None:
        """Undo what the last start did, and build this state."""
        if self._look_outside() != self._outside:
            self.close()
            self._open()
        now = _marks(self._places)
        changed = [path for path in now.keys() | self._marks.keys() if now.get(path) != self._marks.get(path)]
        known = self._recording.names.start.keys() | self._builder.paths()
        self._builder.forget(path for path in changed if path in known)
        for path in sorted(changed, key=len):
            # Of a directory that stood there before, the entries say what happened; a new one is taken away whole.
            if path not in known and (path not in self._marks or not os.path.isdir(self._place(path))):
                self._bench.zygote.put(self._name, path, self._start)
        self._builder.build(state)
        self._marks = _marks(self._places)

    def _place(self, path: str) -> str:
        root = next(root for root in self._places if path == root or path.startswith(root + "/"))
        return self._places[root] + path[len(root) :]

    def conduct(self, command: Command, patience: Patience) -> Conducted:
        """One start in the lane's sandbox; nothing of it is alive afterwards."""
        self.sandbox.advance_pids(self._bench.pid_step)
        return conduct(self.sandbox, command, patience=patience)

    def close(self) -> None:
        self._builder.close()
        self.sandbox.close()
        self._bench.zygote.drop(self._name)


def _marks(places: dict[str, str]) -> dict[str, Mark]:
    """Of every entry below these directories what changes when somebody changes it."""
    return {path: mark for root, place in places.items() for path, mark in _walk(root, place)}


def _walk(path: str, place: str) -> Iterator[tuple[str, Mark]]:
    with os.scandir(place) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            is_directory = entry.is_dir(follow_symlinks=False)
            # Making and removing entries changes a directory's times; the entries themselves say what happened.
            times = (0, 0) if is_directory else (info.st_mtime_ns, info.st_ctime_ns)
            yield f"{path}/{entry.name}", (info.st_ino, *times, 0 if is_directory else info.st_size, info.st_mode)
            if is_directory:
                yield from _walk(f"{path}/{entry.name}", entry.path)


def clear(plan: Plan, bench: Bench, recording: Recording) -> History | None:
    """The history of this power cut as far as a lane tells it; None where a trial of its own is needed."""
    if bench.service is not None or bench.companions or not plan.rerun:
        return None
    if recording.layered:  # what changes in an upper layer while it is mounted need not be seen
        return None
    if len(plan.faults) != 1 or not isinstance(plan.faults[0], PowerCut):
        return None
    fault = plan.faults[0]
    lane = bench.lanes.get(plan.start)
    if not isinstance(lane, Lane):
        lane = bench.lanes[plan.start] = Lane(bench, plan.start, recording)
    state = fault.state(recording)
    injected, outputs = fault.told(recording)
    readings: tuple[Reading, ...] = ()
    if bench.check is not None:
        lane.put(state)
        readings = (_answer(lane, bench.check, "run"),)
    first = Run(phase="run", end=End(how=KILLED, signal=9), outputs=outputs, readings=readings)
    lane.put(state)
    conducted = lane.conduct(bench.command, plan.patience)
    if conducted.end.how != EXITED or lane.sandbox.trouble():
        return None
    image = bench.read(lane.image)
    readings = (_answer(lane, bench.check, "restart"),) if bench.check is not None else ()
    again = Run(
        phase="restart", end=conducted.end, outputs=conducted.outputs, image=image, readings=readings,
        left=conducted.left,
    )  # fmt: skip
    return History(start=plan.start, kind=plan.kind, injected=(injected,), runs=(first, again))


def _answer(lane: Lane, check: Command, when: str) -> Reading:
    answer = lane.conduct(check, CHECK_PATIENCE)
    return Bench.reading(answer, when)
