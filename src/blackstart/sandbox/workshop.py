"""The fallback where namespaces are refused: images in a private directory, one target at a time, under Landlock.

The image whose sandbox starts a target is moved to one fixed place first, so that paths are the same in every trial.
The keeper stands for process 1: orphans of the target come to it, and it ends only after all of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import time
from typing import Any, NoReturn

from blackstart.sandbox import init, kernel, mounts, wire
from blackstart.sandbox.copying import remove_tree
from blackstart.sandbox.descent import children, descendants
from blackstart.sandbox.helper import Helper
from blackstart.sandbox.images import Images
from blackstart.sandbox.listing import kind_of
from blackstart.sandbox.plan import FRESH, Plan, below

LIVE = "live"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryImages(Images):
    """Images as plain directories of the host; none is kept once it is dropped: that takes room on a disk."""

    many_entries = 0

    def __init__(self, place: str, layout: dict[str, Any], limit_bytes: int) -> None:
        super().__init__(place, layout, Plan((), (), (), 0o755), limit_bytes, host="")
        self._live = ""
        self._nominal: list[str] = layout["nominal"]

    def directory(self, name: str) -> str:
        """Where the image stands now."""
        number = self._numbers[name]
        return f"{self._place}/{LIVE if name == self._live else number}"

    def _make_room(self, place: str) -> None:
        os.mkdir(place, 0o700)

    def room(self, name: str, free_bytes: int | None, free_inodes: int | None) -> None:
        """A directory of the host has no room of its own."""
        raise OSError(errno.EOPNOTSUPP, "the disk is the machine's own here, and cannot be filled")

    def _furnish(self, place: str) -> None:
        for part in ("root", "part", "copy", "fresh", "upper", "scratch"):
            os.mkdir(f"{place}/{part}")
        for index, path in enumerate(FRESH):
            mounts.make_fresh(f"{place}/fresh/{index}", path)

    def drop(self, name: str, *, is_empty: bool = True) -> None:
        """Remove an image."""
        place = self.directory(name)
        del self._numbers[name]
        if name == self._live:
            self._live = ""
        parent = os.open(self._place, _DIRECTORY)
        try:
            remove_tree(parent, os.path.basename(place))
        finally:
            os.close(parent)

    def rename(self, name: str, new: str) -> None:
        """Let an image have another name, where it is."""
        super().rename(name, new)
        self._live = new if self._live == name else self._live

    def activate(self, name: str) -> str:
        """Move the image to the place where targets run, and another one away from it."""
        if self._live != name:
            if self._live:
                os.rename(f"{self._place}/{LIVE}", f"{self._place}/{self._numbers[self._live]}")
                self._live = ""
            os.rename(f"{self._place}/{self._numbers[name]}", f"{self._place}/{LIVE}")
            self._live = name
        return f"{self._place}/{LIVE}"

    def differences(self, name: str) -> list[list[str]]:
        """What differs from the host in the copies that nobody named as state."""
        rows: list[list[str]] = []
        for index, root in enumerate(self._copies):
            if root not in self._nominal:
                top = os.open(f"{self.directory(name)}/copy/{index}", _DIRECTORY)
                try:
                    self._compare(top, root, rows, 0)
                finally:
                    os.close(top)
        return rows

    def _compare(self, here: int, path: str, rows: list[list[str]], depth: int) -> None:
        seen = set()
        for name in sorted(os.listdir(here)):
            seen.add(name)
            inner = f"{path}/{name}"
            info = os.stat(name, dir_fd=here, follow_symlinks=False)
            try:
                old = os.lstat(inner)
            except OSError:
                rows.append([inner, "created", kind_of(info.st_mode)])
                continue
            if below(inner, self._nominal):
                continue
            if stat.S_ISDIR(info.st_mode) and stat.S_ISDIR(old.st_mode) and depth < 256:
                inside = os.open(name, _DIRECTORY, dir_fd=here)
                try:
                    self._compare(inside, inner, rows, depth + 1)
                finally:
                    os.close(inside)
            elif _touched(info, old):
                rows.append([inner, "modified", kind_of(info.st_mode)])
        for name in sorted(set(os.listdir(path)) - seen):
            inner = f"{path}/{name}"
            if inner not in self._omit:
                rows.append([inner, "deleted", kind_of(os.lstat(inner).st_mode)])


def _touched(info: os.stat_result, old: os.stat_result) -> bool:
    same = (info.st_mode, info.st_size) == (old.st_mode, old.st_size)
    return not same or (stat.S_ISREG(info.st_mode) and info.st_mtime_ns != old.st_mtime_ns)


class Workshop(Helper):
    """The helper of this isolation."""

    _images: DirectoryImages

    def __init__(self, channel: socket.socket, layout: dict[str, Any], images: DirectoryImages, area: str) -> None:
        super().__init__(channel, layout, Plan((), (), (), 0o755), images)
        self._area = area
        self._keepers: dict[str, int] = {}
        kernel.prctl(kernel.SUBREAPER, 1)

    def _do_changes(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        return {"rows": self._images.differences(message["name"])}

    def _do_activate(self, message: dict[str, Any], _in: list[int], _out: list[int]) -> dict[str, Any]:
        for image, pid in self._keepers.items():
            if image != message["name"] and children(pid):
                raise BlockingIOError
        return {"path": self._images.activate(message["name"])}

    def _do_sandbox(self, message: dict[str, Any], channels: list[int], _out: list[int]) -> dict[str, Any]:
        self._images.directory(message["name"])
        pid = os.fork()
        if pid == 0:
            _become_keeper(self, channels)
        self._keepers[message["name"]] = pid
        return {"pid": pid}

    def leave(self) -> None:
        """Wait for the keepers, end what may be left of their targets, and remove the work area."""
        end_children(init.KILL_LIMIT_S, frozenset(self._keepers.values()))
        shutil.rmtree(self._area, onerror=_open_and_retry)

    def become(self) -> None:
        """Give up what a keeper must not share with the helper."""
        signal.set_wakeup_fd(-1)
        self._channel.close()
        os.close(self._wakeup)


def _open_and_retry(function: Any, path: str, _error: Any) -> None:
    """A target may have left directories that even their owner cannot enter."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if not os.path.islink(path) and os.path.isdir(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def _become_keeper(workshop: Workshop, channels: list[int]) -> NoReturn:
    try:
        kernel.prctl(kernel.PDEATHSIG, signal.SIGTERM)
        kernel.prctl(kernel.SUBREAPER, 1)
        os.setsid()
        workshop.become()
        orders, events = (socket.socket(fileno=c) for c in channels)
        signal.signal(signal.SIGTERM, _stop)
        wire.send(orders, {"ready": True})
        Keeper(orders, events, -1).serve()
    except (wire.Closed, _Stopped):
        pass
    finally:
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_children(init.KILL_LIMIT_S)
        os._exit(0)


class _Stopped(BaseException):
    """The helper is gone."""


def _stop(_number: int, _frame: Any) -> None:
    raise _Stopped


class Keeper(init.Server):
    """Serves one sandbox; kills by walking the tree, because there is no namespace to end."""

    def _kill(self) -> dict[str, Any]:
        self._dismiss_spare()
        end = time.monotonic() + init.KILL_LIMIT_S
        while True:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not self._reap():
                return {"left": 0}
            if time.monotonic() > end:
                return {"left": 1}
            self._pause(10)


def end_children(limit_s: float, spared: frozenset[int] = frozenset()) -> None:
    """SIGKILL to everything below this process but `spared`, which end by themselves; until nobody is left."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for pid in descendants(os.getpid(), spared):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait([signal.SIGCHLD], 0.01)


def prepare(setup: dict[str, Any]) -> tuple[DirectoryImages, str]:
    """The work area of this helper, ready for images."""
    area = setup["work_area"]
    if not setup["area_is_there"]:
        os.mkdir(area, 0o700)
    os.mkdir(f"{area}/images", 0o700)
    return DirectoryImages(f"{area}/images", setup["layout"], setup["limit_bytes"]), area
