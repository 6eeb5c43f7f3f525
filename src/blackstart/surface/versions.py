"""The versions of a clean run: what each file held at its version boundaries, and which of them an output acknowledged.

A version boundary of a file is the last close of a writer, a rename onto it, a commit (fsync, fdatasync, a rollback
journal unlinked or truncated, the last frame of a transaction in a write-ahead log), an output event, and the moment
before it is opened anew, truncated, replaced or removed. An operation is seen before the kernel carries it out, so what
a boundary left is read at the next operation of the same thread. Only files that were changed since their last reading
are read.

A content that does not read (half written at an output event) is no version. Of files with more versions than are
worth reading, the gap is marked by a FileState of kind `unread`: the oracles then expect less.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import msgspec

from blackstart.core.answering import STDOUT, Answering
from blackstart.core.calibration import Acknowledgement
from blackstart.core.masking import BEFORE, UNREAD, Masker, same
from blackstart.core.reading import FileState, Image
from blackstart.core.trace import DIRECTORY, SYNCING, Operation

READINGS_PER_FILE = 300
_COMPANIONS = ("-wal", "-journal", "-shm")
_LOG, _FRAME_HEADER_BYTES = "-wal", 24
_RENAMES = ("rename", "renameat", "renameat2", "link", "linkat")
_REMOVALS = ("unlink", "unlinkat", "rmdir")
_TRUNCATIONS = ("truncate", "ftruncate")


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What a VersionReader found, by path; masked by `masked`."""

    versions: dict[str, tuple[FileState | None, ...]]
    acknowledgements: tuple[Acknowledgement, ...]

    def masked(self, masker: Masker) -> Versions:
        """The same with masked paths and contents; of files that share a name, all versions count."""
        together: dict[str, tuple[FileState | None, ...]] = {}
        shared: set[str] = set()
        for path, states in self.versions.items():
            name = masker(path)
            shown = tuple(state and masker.state(name, state) for state in states)
            if name in together:
                shared.add(name)  # whose version an event acknowledged cannot be told
            together[name] = (*together.get(name, ()), *shown)
        events: list[Acknowledgement] = []
        last: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for event in self.acknowledgements:
            if event.versions is not last[0]:
                named = {masker(path): at for path, at in event.versions.items()}
                last = event.versions, {name: at for name, at in named.items() if name not in shared}
            events.append(Acknowledgement(nth=event.nth, versions=last[1], at_s=event.at_s))
        return Versions(versions=together, acknowledgements=tuple(events))


class VersionReader:
    """Reads versions while a clean run is recorded.

    read_state: the current state of a path as the target sees it, with content; None if nothing stands there.
    start: the image before the run. settled_versions grows at each boundary at which no changed file is half written.
    """

    def __init__(self, read_state: Callable[[str], FileState | None], start: Image) -> None:
        self.settled_versions = 0
        self._read_state = read_state
        self._versions: dict[str, list[FileState | None]] = {}
        self._start = start
        self._readings: dict[str, int] = {}
        self._dirty: dict[str, int] = {}  # changed since the last reading -> by which process
        self._appending: set[str] = set()
        self._doubled: set[tuple[int, str]] = set()  # (process, path): open twice, by dup2
        self._pending: dict[int, set[str]] = {}
        self._committing: set[tuple[int, str]] = set()  # (thread, log): the page that ends a transaction comes next
        self._events: list[Acknowledgement] = []
        self._has_news = False
        self._answering = Answering()

    def before(self, operation: Operation) -> None:
        """Called while the caller waits just before `operation`."""
        waiting = self._pending.pop(operation.thread, None)
        if waiting:
            self._read(waiting)
        if self._answering.lets_out(operation):
            self._read({*self._dirty, *(path for paths in self._pending.values() for path in paths)})
            self._acknowledge(operation)
        if self._has_news and not self._pending and self._dirty.keys() <= self._appending:
            self.settled_versions += 1
            self._has_news = False
        self._note(operation)

    def _acknowledge(self, operation: Operation) -> None:
        """Lines on stdout acknowledge: they can be counted in a run that fails, answers on sockets cannot."""
        lines = (operation.data.count(b"\n") if operation.data else 1) if operation.path == STDOUT else 0
        reached = {path: len(states) - 1 for path, states in self._versions.items()}
        # Lines that left together were buffered: a run that fails may let the first of them out earlier, so only
        # the last of them acknowledges what stood when they left.
        before = self._events[-1].versions if self._events else {}
        for left in range(lines - 1, -1, -1):
            versions = before if left else reached
            nth = len(self._events) + 1
            self._events.append(Acknowledgement(nth=nth, versions=versions, at_s=operation.at_s))

    def finish(self, image: Image) -> Versions:
        """The run has ended and left `image`: its contents are the last versions."""
        for path in sorted({*self._versions, *self._dirty, *image, *self._start}):
            final, known = image.get(path), self._known(path)
            if not same(known[-1], final):
                known.append(final)
        return Versions(
            versions={path: tuple(states) for path, states in self._versions.items()},
            acknowledgements=tuple(self._events),
        )

    def _note(self, operation: Operation) -> None:
        """What the operation will change, and whether that is a boundary."""
        path, call, who = _owner(operation.path), operation.call, operation.process
        is_companion = path != operation.path
        if call in ("exit_group", "dup2", "dup3"):  # may close what the process had open
            doubled = path if call != "exit_group" and path in self._dirty else ""
            self._later(operation.thread, [p for p, by in self._dirty.items() if by == who and p != doubled])
            self._read(self._pending.pop(operation.thread, ()))
            if doubled:
                self._doubled.add((who, doubled))
        elif call == "close":
            if (who, path) in self._doubled:  # as a shell does for `> FILE`: another descriptor stays open
                self._doubled.remove((who, path))
            else:
                self._later(operation.thread, {path} & self._dirty.keys())
        elif call in SYNCING:
            self._later(operation.thread, {path})
        elif call in _RENAMES:
            onto = _owner(operation.path2)
            self._read({path, onto} & self._dirty.keys())
            self._change(who, path, onto)
            self._later(operation.thread, {path, onto} if operation.kind != DIRECTORY else set())
        elif call in _REMOVALS or (call in _TRUNCATIONS and is_companion):
            self._read(set() if is_companion else {path} & self._dirty.keys())
            self._change(who, path)
            self._later(operation.thread, {path})
        elif operation.is_opening_for_change or call in _TRUNCATIONS:
            self._read({path} & self._dirty.keys())
            self._change(who, path)
            if operation.flags & os.O_APPEND and call not in _TRUNCATIONS:
                self._appending.add(path)
        elif operation.changes:
            self._change(who, path)
            if operation.path.endswith(_LOG):
                self._frame(operation, path)

    def _frame(self, operation: Operation, path: str) -> None:
        """A frame of a write-ahead log, which need not be synced to be a commit: its header comes first, and says
        whether the page behind it ends a transaction.
        """
        header, place = operation.data, (operation.thread, operation.path)
        if operation.size == _FRAME_HEADER_BYTES:
            if not header or any(header[4:8]):
                self._committing.add(place)
        elif place in self._committing:
            self._committing.remove(place)
            self._later(operation.thread, {path})

    def _change(self, process: int, *paths: str) -> None:
        self._dirty.update((path, process) for path in paths if path.startswith("/"))

    def _later(self, thread: int, paths: Iterable[str]) -> None:
        wanted = {path for path in paths if path.startswith("/")}
        if wanted:
            self._pending.setdefault(thread, set()).update(wanted)

    def _known(self, path: str) -> list[FileState | None]:
        if path not in self._versions:
            self._versions[path] = [self._start.get(path)]
        return self._versions[path]

    def _read(self, paths: Iterable[str]) -> None:
        for path in sorted(paths):
            self._dirty.pop(path, None)
            known = self._known(path)
            count = self._readings[path] = self._readings.get(path, 0) + 1
            if count > READINGS_PER_FILE:
                if known[-1] is None or known[-1].kind != UNREAD:
                    known.append(FileState(path=path, kind=UNREAD))
                continue
            state = self._read_state(path)
            if state is not None and state.content is not None and state.content.error:
                continue  # half written
            if not same(known[-1], state):
                known.append(state)
                self._has_news = True


def boundary_rerun(before: Image, after: Image, masker: Masker, paths: Iterable[str]) -> dict[str, FileState]:
    """An entry of `Calibration.boundary_reruns`: what a clean re-run made of a boundary state.

    It holds, for each masked path of `paths`, what stood there after the re-run, and under `before:PATH` what the
    re-run started from; that is how a version and its re-run are matched. Missing files are left out.
    """
    wanted = set(paths)
    result = dict(masker.image(after, wanted))
    result.update({BEFORE + path: state for path, state in masker.image(before, wanted).items()})
    return result


def _owner(path: str) -> str:
    """The database of a companion, else the path itself."""
    for suffix in _COMPANIONS:
        if path.endswith(suffix):
            return path[: -len(suffix)]
    return path
