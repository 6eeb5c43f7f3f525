"""What a run changes outside its sandbox, written before it is changed, so that it can be undone after our own death.

One line of JSON for each step, appended in a single write and synced before the change is made. A line that a power
cut, a kill or a full disk tore is ignored: the change it speaks of was never begun. Undoing is idempotent, looks before
it acts (a process must still be the one that was written down, a directory must carry our mark), and notes what it did.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError

DIRECTORY, PROCESS, GROUP = "directory", "process", "group"
# A group can be removed once its last process is gone, which may take the kernel a moment.
_GROUP_S, _GROUP_LOOK_S = 5.0, 0.05
MARK = ".blackstart-work-area"
# Its file, beside the results.
LEDGER = "ledger"
_LEFT = "left: "


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """One change that `undo` looked at: what it did, or why it left it."""

    kind: str
    what: str
    outcome: str

    @property
    def is_left(self) -> bool:
        """Whether it could not be undone, and is still written down."""
        return self.outcome.startswith(_LEFT)


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    number: int
    kind: str = ""
    path: str = ""
    pid: int = 0
    started: str = ""
    closed: bool = False


class Ledger:
    """Append-only; several processes may share one file, each numbering its own lines.

    What announces a change raises BlackstartError where it cannot be written: the change must not be made then.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._count = 0

    def work_area(self, path: str) -> str:
        """Write down, then make, a private directory that belongs to this run; returns its path."""
        number = self._note(_Line(number=self._next(), kind=DIRECTORY, path=path))
        try:
            os.mkdir(path, 0o700)
            with open(os.path.join(path, MARK), "w") as mark:
                mark.write(f"{number}\n")
        except OSError as error:
            self.close(number)
            raise BlackstartError(
                f"the work area cannot be made: {error.strerror}",
                where=path,
                next_step="make room there, or name another directory for temporary files: TMPDIR",
                exit_status=3,
            ) from error
        return path

    def process(self, pid: int) -> int:
        """Write down a process that must not outlive the run; returns the number for `close`."""
        return self._note(_Line(number=self._next(), kind=PROCESS, pid=pid, started=_start_of(pid)))

    @contextlib.contextmanager
    def group(self, path: str) -> Iterator[None]:
        """Write down a control group that is made and removed within."""
        number = self._note(_Line(number=self._next(), kind=GROUP, path=path))
        yield
        self.close(number)  # not where something went wrong: it may still be there

    def close(self, number: int) -> None:
        """The change is gone: nothing is left to undo. Where that cannot be written, `undo` finds it gone by itself."""
        with contextlib.suppress(BlackstartError):
            self._note(_Line(number=number, closed=True))

    def release(self, path: str) -> None:
        """Remove a work area and close its line."""
        _remove_directory(path)
        for line in pending(self._path):
            if line.kind == DIRECTORY and line.path == path:
                self.close(line.number)

    def settle(self) -> None:
        """Close the lines of what is gone by itself; what other runs still use is left alone."""
        for line in pending(self._path):
            is_gone = _start_of(line.pid) != line.started if line.kind == PROCESS else not os.path.lexists(line.path)
            if is_gone:
                self.close(line.number)

    def _next(self) -> int:
        self._count += 1
        return os.getpid() * 1_000_000 + self._count

    def _note(self, line: _Line) -> int:
        """Append one line; on the disk when this returns."""
        try:
            self._append(msgspec.json.encode(line))
        except OSError as error:
            raise BlackstartError(
                f"what is about to be changed cannot be written down: {error.strerror}",
                where=str(self._path),
                next_step="make room, or run in a directory of yours",
                exit_status=3,
            ) from error
        return line.number

    def _append(self, line: bytes) -> None:
        # The break before it ends a torn line of somebody else, which would else swallow this one.
        data = b"\n" + line + b"\n"
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_directory(self._path.parent)


def pending(path: str | os.PathLike[str]) -> list[_Line]:
    """The changes that were begun and not closed."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    found: dict[int, _Line] = {}
    for text in data.split(b"\n"):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if line.closed:
            found.pop(line.number, None)
        else:
            found[line.number] = line
    return list(found.values())


def undo(path: str | os.PathLike[str]) -> list[Undone]:
    """Undo what a run left behind, processes first, then newest first; a second call finds nothing to do."""
    ledger = Ledger(path)
    done = []
    newest_first = pending(path)[::-1]
    for line in sorted(newest_first, key=lambda line: line.kind != PROCESS):
        if line.kind == PROCESS:
            outcome = _end_process(line)
            what = f"process {line.pid}"
        elif line.kind == GROUP:
            outcome = _remove_group(line.path)
            what = line.path
        else:
            outcome = _remove_directory(line.path)
            what = line.path
        done.append(Undone(kind=line.kind, what=what, outcome=outcome))
        if not done[-1].is_left:
            ledger.close(line.number)
    return done


def _end_process(line: _Line) -> str:
    try:
        process = os.pidfd_open(line.pid)
    except OSError:
        return "was gone"
    try:
        # What was opened is the one that is ended, also where its number is another's a moment later.
        if not line.started or _start_of(line.pid) != line.started:
            return "was gone"
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        return "was gone"
    except PermissionError:
        return f"{_LEFT}it belongs to another user"
    finally:
        os.close(process)
    return "ended"


def _remove_group(path: str) -> str:
    """Only one without processes can be removed, and that hurts nobody."""
    end_s = SYSTEM.monotonic() + _GROUP_S
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return "was gone"
        except OSError as error:
            if error.errno != errno.EBUSY or SYSTEM.monotonic() > end_s:
                return f"{_LEFT}{error.strerror}"
            SYSTEM.sleep(_GROUP_LOOK_S)
        else:
            return "removed"


def _remove_directory(path: str) -> str:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return "was gone"
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        return f"{_LEFT}it is not the directory that was made"
    mark = os.path.join(path, MARK)
    if not os.path.lexists(mark):
        try:
            os.rmdir(path)  # made, but killed before the mark was
        except OSError as error:
            return _LEFT + ("it carries no mark of ours" if error.errno == errno.ENOTEMPTY else str(error))
        return "removed"
    _open_all(path)
    shutil.rmtree(path, ignore_errors=True)
    return f"{_LEFT}it could not be removed" if os.path.lexists(path) else "removed"


def _open_all(path: str) -> None:
    """A target may have left directories that even their owner cannot enter."""
    for directory, names, _ in os.walk(path, topdown=True):
        for name in names:
            place = os.path.join(directory, name)
            if not os.path.islink(place):
                with contextlib.suppress(OSError):
                    os.chmod(place, 0o700)


def _start_of(pid: int) -> str:
    """Start time and boot of a process: the same number with another start is another process; a dead one has none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in (b"Z", b"X"):
            return ""
        ticks = fields[19].decode()
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}/{ticks}"
    except (OSError, IndexError):
        return ""


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
