"""Power cuts for an application's own suite: record a command, go through its crash states, put each on the disk.

The command really runs on the directory that is named, under the gate and without a sandbox: name a directory of the
test's own. A copy of what stood there before is kept beside the recording.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import TargetError
from blackstart.core.history import Cut
from blackstart.faults.power import describe, states
from blackstart.gate import BOOKKEEPING, DEFAULT, Launched, Recorder, Supervisor, closure, launch, stream_names
from blackstart.gate.filter import compile as compile_filter
from blackstart.power import Builder, Recording, Spill, StartEntry, State, Tape, model, scan

DATA_MAX_BYTES = 1 << 30


def record(
    command: Sequence[str],
    *,
    state: str | os.PathLike[str],
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Recording:
    """Run the command once and record all that it changes below the directory `state`.

    Raises TargetError if it does not end with status 0 in time.
    """
    root = os.path.realpath(state)
    spill = Spill()
    base = tempfile.mkdtemp(prefix="blackstart-start-")
    spill.closing(lambda: shutil.rmtree(base, ignore_errors=True))
    shutil.copytree(root, base, symlinks=True, dirs_exist_ok=True)
    start = [_based(entry, root, base) for entry in scan({root: root})]
    tape = Tape(start, spill, read_now=_read, look_now=_look)
    calls = closure(DEFAULT | BOOKKEEPING | {"exit_group"})
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        where = os.fspath(cwd) if cwd is not None else None
        started = launch(command, compile_filter(calls), env=env, cwd=where, stdin=null, stdout=writing, stderr=null)
        recorder = Recorder(data=True, offsets=True, sites=True, data_max=DATA_MAX_BYTES, limit=0)
        with Supervisor(
            started.listener,
            record=recorder,
            on_operation=tape.before,
            gated=calls,
            streams=stream_names(None, writing),
        ) as supervisor:
            os.close(writing)
            writing = -1
            status = _ended(supervisor, started, reading, timeout_s)
    except BaseException:
        spill.close()
        raise
    finally:
        for descriptor in (reading, writing, null):
            if descriptor >= 0:
                os.close(descriptor)
    if status != 0:
        spill.close()
        raise TargetError(f"{command[0]} did not end with status 0 (wait status {status})", next_step="run it by hand")
    return tape.finish()


def _ended(supervisor: Supervisor, started: Launched, output: int, timeout_s: float) -> int:
    """The wait status of the program, which is killed where it does not end in time, or we are interrupted."""
    try:
        _serve(supervisor, output, timeout_s)
    finally:
        if not supervisor.is_ended:
            started.kill()
        status = os.waitpid(started.pid, 0)[1]
    return status


def _serve(supervisor: Supervisor, output: int, timeout_s: float) -> None:
    """Answer calls until the program ends; what it says is read so that it never waits for us."""
    waiting, end_s = [output], SYSTEM.monotonic() + timeout_s
    while waiting and not supervisor.is_ended:
        ready = supervisor.serve_until(waiting, end_s - SYSTEM.monotonic())
        if not ready:
            return
        if not os.read(output, 1 << 16):
            waiting = []
    if not supervisor.is_ended:
        supervisor.serve_until([], end_s - SYSTEM.monotonic())


def _based(entry: StartEntry, root: str, base: str) -> StartEntry:
    """The entry with its bytes from the copy, since the original is about to change."""
    source = base + entry.path[len(root) :] if entry.source else ""
    return replace(entry, source=source)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def crash_states(
    recording: Recording, *models: str, seed: int = 0, limit: int | None = None, with_kills: bool = False
) -> Iterator[State]:
    """Distinct crash states under these models (none: ext4, xfs, btrfs, posix), the most telling first.

    with_kills: also those that a mere kill leaves.
    """
    for name in models:
        model(name)
    kills = states(recording, ("kill9",), seed) if with_kills else iter(())
    yield from kills
    yield from islice(states(recording, models, seed), limit)


def materialise(recording: Recording, state: State, directory: str | os.PathLike[str]) -> None:
    """Put the state directory as this cut left it into the new directory `directory`."""
    place = os.fspath(directory)
    (root,) = recording.tree.roots
    base = next((e.source[: -len(e.path[len(root) :])] for e in recording.start if e.source), "")
    if base:
        shutil.copytree(base, place, symlinks=True)
        _link_again(recording, root, place)
    else:
        _skeleton(recording, root, place)
    if os.geteuid() == 0:
        for entry in recording.start:
            if entry.owner is not None:
                os.chown(place + entry.path[len(root) :], *entry.owner, follow_symlinks=False)
    builder = Builder(recording, {root: place}, contents=recording.contents, names=recording.names)
    try:
        builder.build(state)
    finally:
        builder.close()


def _link_again(recording: Recording, root: str, place: str) -> None:
    """A copy makes a file of each name of a file with several; here they are one again."""
    first: dict[int, str] = {}
    for entry in recording.start:
        path = place + entry.path[len(root) :]
        if entry.identity and first.setdefault(entry.identity, path) != path:
            os.unlink(path)
            os.link(first[entry.identity], path)


def _skeleton(recording: Recording, root: str, place: str) -> None:
    """A start state without any file."""
    for entry in recording.start:
        path = place + entry.path[len(root) :]
        if entry.kind == "directory":
            os.mkdir(path)
        elif entry.kind == "link":
            os.symlink(entry.target, path)


def explain(recording: Recording, state: State) -> Cut:
    """Where the cut fell, what is missing, and the models that allow it."""
    return describe(recording, state)
