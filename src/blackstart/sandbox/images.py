"""The images that a helper keeps: each is a file system in memory of its own, and everything asked about one.

An image holds the copies of the state directories, the fresh directories, the plain entries of the root, and the
upper layer of each overlay. A file system each, so that a runaway program fills its own only, and dropping one
costs the same whatever was in it. Paths in questions are as the target sees them; no link in an image is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any

from blackstart.sandbox import kernel, mounts
from blackstart.sandbox.copying import Copier, Report, TooMuch, copy_tree, opened, remove_tree
from blackstart.sandbox.plan import FRESH, HOST, Plan, below

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Of each image; more than any state that fits has files.
INODES = 1 << 20
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
}


def kind_of(mode: int) -> str:
    """file, directory, link, socket, fifo or other."""
    return _KINDS.get(stat.S_IFMT(mode), "other")


class Images:
    """All images of one helper, by name."""

    def __init__(self, place: str, layout: dict[str, Any], plan: Plan, limit_bytes: int, *, host: str = HOST) -> None:
        self._place = place
        self._host = host
        self._copies: list[str] = layout["copies"]
        self._made: list[str] = layout.get("made", [])
        self._omit = frozenset(layout["omit"])
        self._plan = plan
        self._limit = limit_bytes
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._stubs = plan.stubs()

    def names(self) -> list[str]:
        """Names in order of making."""
        return list(self._numbers)

    def directory(self, name: str) -> str:
        """Where the image stands in the helper's tree."""
        return f"{self._place}/{self._numbers[name]}"

    def _new(self, name: str) -> str:
        if name in self._numbers:
            raise FileExistsError(17, f"there is already an image {name}")
        self._count += 1
        place = f"{self._place}/{self._count}"
        self._make_room(place)
        self._numbers[name] = self._count
        return place

    def _make_room(self, place: str) -> None:
        os.mkdir(place)
        _mount_memory(place, self._limit_bytes)

    @property
    def _limit_bytes(self) -> int:
        return self._limit * 3 + (512 << 20)

    def _furnish(self, place: str) -> None:
        mounts.furnish(place, self._plan)

    def capture(self, name: str) -> dict[str, Any]:
        """A new image with the state directories of the host as they are now."""
        place = self._new(name)
        try:
            self._furnish(place)
            copier = Copier(limit_bytes=self._limit, omit=self._omit)
            for index, path in enumerate(self._copies):
                if os.path.isdir(self._host + path):
                    copy_tree(self._host + path, f"{place}/copy/{index}", path, copier)
                else:
                    os.mkdir(f"{place}/copy/{index}")
        except BaseException:
            self.drop(name)
            raise
        return reported(copier.report)

    def copy(self, source: str, name: str) -> dict[str, Any]:
        """A new image equal to another one."""
        old = os.open(self.directory(source), _DIRECTORY)
        try:
            return self.adopt(old, name)
        finally:
            os.close(old)

    def adopt(self, old: int, name: str) -> dict[str, Any]:
        """A new image equal to the one at this descriptor, which may be another helper's with the same layout."""
        new = self._new(name)
        try:
            copier = Copier(limit_bytes=self._limit_bytes, from_image=True)
            for part in ("root", "part", "copy", "fresh", "upper"):
                copy_tree(part, f"{new}/{part}", part, copier, within=old)
            os.mkdir(f"{new}/scratch")
            for step in self._plan.layers():
                os.mkdir(f"{new}/scratch/{step.index}")
        except BaseException:
            self.drop(name)
            raise
        return reported(copier.report)

    def drop(self, name: str) -> None:
        """Forget an image; a sandbox that still runs over it keeps it alive until it ends."""
        place = self.directory(name)
        del self._numbers[name]
        kernel.unmount(place)
        os.rmdir(place)

    def _base(self, path: str) -> tuple[str, str] | None:
        """(directory of the image, path below it) of a target path; the deepest mount that covers it wins."""
        best: tuple[int, str, str] | None = None
        for kind, roots in (("copy", self._copies), ("fresh", FRESH)):
            for index, root in enumerate(roots):
                if below(path, [root]) and (best is None or len(root) > best[0]):
                    best = (len(root), f"{kind}/{index}", root)
        for index, root in enumerate(self._plan.parts):
            if below(path, [root]) and (best is None or len(root) > best[0]):
                best = (len(root), f"part/{index}", root)
        for step in self._plan.layers():
            if below(path, [step.path]) and (best is None or len(step.path) > best[0]):
                best = (len(step.path), f"upper/{step.index}", step.path)
        return None if best is None else (best[1], path[len(best[2]) :].strip("/"))

    def locate(self, name: str, path: str) -> str | None:
        """Where a target path of the image stands in the helper's tree, if it is part of the image."""
        found = self._base(path)
        if found is None:
            return None
        place = f"{self.directory(name)}/{found[0]}"
        return f"{place}/{found[1]}" if found[1] else place

    def _parent(self, name: str, path: str, *, make: bool = False) -> tuple[int, str]:
        found = self._base(path)
        if found is None:
            raise FileNotFoundError(2, f"{path} is not part of an image")
        top = os.open(f"{self.directory(name)}/{found[0]}", _DIRECTORY)
        try:
            parent, _, last = found[1].rpartition("/")
            return mounts.reach(top, parent, make=make), last
        except mounts.Displaced as error:
            raise NotADirectoryError(20, str(error)) from None
        finally:
            os.close(top)

    def open(self, name: str, path: str, flags: int) -> int:
        """Open one entry; never follows a link, never blocks."""
        parent, last = self._parent(name, path)
        try:
            return os.open(last or ".", flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)

    def remove(self, name: str, path: str) -> None:
        """Remove one entry, with all below it."""
        parent, last = self._parent(name, path)
        try:
            remove_tree(parent, last)
        finally:
            os.close(parent)

    def chmod(self, name: str, path: str, mode: int) -> None:
        """Change the permission bits of a regular file or directory of the image."""
        descriptor = self.open(name, path, os.O_RDONLY)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def write(self, name: str, path: str, data: bytes, mode: int | None) -> None:
        """Put a file with these bytes there; a mode of None keeps that of the file that stood there."""
        parent, last = self._parent(name, path, make=True)
        try:
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(last, dir_fd=parent, follow_symlinks=False)
                if mode is None and stat.S_ISREG(info.st_mode):
                    mode = stat.S_IMODE(info.st_mode)
                if not stat.S_ISREG(info.st_mode):
                    remove_tree(parent, last)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(last, flags, 0o600, dir_fd=parent)
            with os.fdopen(target, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o644 if mode is None else mode)
        finally:
            os.close(parent)

    def put(self, name: str, path: str, source: str, *, is_new: bool) -> None:
        """Make one entry equal to that of another image (absent there: removed here); new: modified just now."""
        with contextlib.suppress(FileNotFoundError):
            self.remove(name, path)
        try:
            outer, last = self._parent(source, path)
        except FileNotFoundError:
            return
        try:
            inner, _ = self._parent(name, path, make=True)
            try:
                Copier(limit_bytes=self._limit, from_image=True).one(outer, inner, last, path)
                if is_new:
                    with contextlib.suppress(FileNotFoundError):
                        os.utime(last, dir_fd=inner, follow_symlinks=False)
            finally:
                os.close(inner)
        finally:
            os.close(outer)

    def walk(self, name: str) -> list[list[Any]]:
        """All entries of the copies, the fresh directories and what was made: path, kind, size, mode, links, target."""
        rows: list[list[Any]] = []
        for kind, roots in (("copy", self._copies), ("fresh", FRESH)):
            for index, root in enumerate(roots):
                top = os.open(f"{self.directory(name)}/{kind}/{index}", _DIRECTORY)
                try:
                    rows.extend(self._walk(top, root, 0))
                finally:
                    os.close(top)
        for path in self._made:
            with contextlib.suppress(FileNotFoundError):
                parent, last = self._parent(name, path)
                try:
                    rows.extend(self._entry(parent, last, path, 0))
                finally:
                    os.close(parent)
        return rows

    def _walk(self, here: int, path: str, depth: int) -> Iterator[list[Any]]:
        if depth > 256:
            raise TooMuch(f"directories are nested deeper than 256 at {path[:200]}")
        with os.scandir(here) as found:
            entries = sorted(found, key=lambda e: e.name)
        for entry in entries:
            yield from self._entry(here, entry.name, f"{path}/{entry.name}", depth)

    def _entry(self, here: int, name: str, path: str, depth: int) -> Iterator[list[Any]]:
        info = os.stat(name, dir_fd=here, follow_symlinks=False)
        kind = kind_of(info.st_mode)
        if not (kind == "directory" and path in self._stubs):
            target = os.readlink(name, dir_fd=here) if kind == "link" else ""
            yield [path, kind, info.st_size, stat.S_IMODE(info.st_mode), info.st_nlink, target, info.st_mtime_ns]
        if kind == "directory":
            with opened(here, name, _DIRECTORY, info, force=True) as below_here:
                yield from self._walk(below_here, path, depth + 1)

    def free_bytes(self, name: str) -> int:
        """What the image can still take."""
        room = os.statvfs(self.directory(name))
        return room.f_bavail * room.f_frsize


    def room(self, name: str, free_bytes: int | None, free_inodes: int | None) -> None:
        """Let the image take this much more and no byte beyond (rounded up to pages); None: what it had at first."""
        place = self.directory(name)
        now = os.statvfs(place)
        used_bytes, used_inodes = (now.f_blocks - now.f_bfree) * now.f_frsize, now.f_files - now.f_ffree
        size = self._limit_bytes if free_bytes is None else used_bytes + free_bytes
        # A whole page at least: no size at all would mean no limit.
        options = f"size={max(size, now.f_frsize)}"
        options += f",nr_inodes={INODES if free_inodes is None else used_inodes + free_inodes}"
        kernel.mount("image", place, "tmpfs", kernel.MS_REMOUNT | kernel.MS_NOSUID | kernel.MS_NODEV, options)


def _mount_memory(place: str, size_bytes: int) -> None:
    """A file system in memory; with huge pages, where the kernel has them, a copy takes a fifth of the time."""
    options = f"mode=755,size={size_bytes},nr_inodes={INODES}"
    for more in (",huge=within_size", ""):
        try:
            kernel.mount("image", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options + more)
            return
        except OSError:
            if not more:
                raise


def reported(report: Report) -> dict[str, Any]:
    """A report as it travels."""
    return {
        "files": report.files,
        "bytes": report.bytes,
        "foreign": report.foreign,
        "unreadable": report.unreadable,
        "skipped": report.skipped,
    }
