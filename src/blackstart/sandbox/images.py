"""The images that a helper keeps: each is a file system in memory of its own, and everything asked about one.

An image holds the copies of the state directories, the fresh directories, the plain entries of the root, and the
upper layer of each overlay. A file system each, so that a runaway program fills its own only, and dropping one
costs the same whatever was in it. Paths in questions are as the target sees them; no link in an image is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from blackstart.sandbox import kernel, mounts
from blackstart.sandbox.copying import Copier, Report, copy_tree, remove_tree
from blackstart.sandbox.families import COPIES, MANY_ENTRIES, Families, Kin
from blackstart.sandbox.listing import Listing, is_gone
from blackstart.sandbox.marks import settle
from blackstart.sandbox.mending import CannotMend, mend
from blackstart.sandbox.plan import FRESH, HOST, Plan, below

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Of each image; more than any state that fits has files.
INODES = 1 << 20
_PARTS = ("root", "part", "fresh", "upper")


class Images:
    """All images of one helper, by name."""

    many_entries = MANY_ENTRIES

    def __init__(self, place: str, layout: dict[str, Any], plan: Plan, limit_bytes: int, *, host: str = HOST) -> None:
        self._place = place
        self._host = host
        self._copies: list[str] = layout["copies"]
        self._made: list[str] = layout.get("made", [])
        self._layered = {os.path.dirname(path) for path in self._made}
        self._omit = frozenset(layout["omit"])
        self._plan = plan
        self._limit = limit_bytes
        self._numbers: dict[str, int] = {}
        self._families = Families(lambda number: self._dismantle(f"{place}/{number}"), self.many_entries)
        self._count = 0
        self._listing = Listing(plan.stubs())

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
            for path in self._made:
                self._lift(name, path, copier)
        except BaseException:
            self.drop(name)
            raise
        self._families.found(name, self._numbers[name], copier.report.files)
        return reported(copier.report)

    def _lift(self, name: str, path: str, copier: Copier) -> None:
        """Put the host's file that belongs to the state, if there is one, into the upper layer over its directory."""
        inner, last = self._parent(name, path, make=True)
        try:
            with contextlib.suppress(FileNotFoundError), _opened(self._host + os.path.dirname(path)) as outer:
                os.stat(last, dir_fd=outer, follow_symlinks=False)
                copier.one(outer, inner, last, path)
        finally:
            os.close(inner)

    def copy(self, source: str, name: str) -> dict[str, Any]:
        """A new image equal to another one; one of many files is mended from one that was dropped, if there is any."""
        kin = self._families.kin.get(source)
        old = os.open(self.directory(source), _DIRECTORY)
        try:
            theirs = set() if kin is None else kin.differing(old)
            while kin is not None and (spare := self._families.spare(kin)) is not None:
                if (report := self._mended(old, theirs, *spare)) is not None:
                    self._numbers[name], self._families.kin[name] = spare
                    return reported(report)
            report = self._copied(old, name)
            if kin is not None:
                with _opened(self.directory(name)) as new:
                    self._families.kin[name] = kin.of_copy(new, theirs)
            return reported(report)
        finally:
            os.close(old)

    def _mended(self, old: int, theirs: set[str], number: int, kin: Kin) -> Report | None:
        """Make a dropped image equal to the one at this descriptor; None, and it is gone, where that cannot be."""
        assert kin.marks is not None
        place = f"{self._place}/{number}"
        copier = Copier(limit_bytes=self._limit_bytes, from_image=True)
        try:
            with _opened(place) as new:
                for part in (*_PARTS, "scratch"):
                    remove_tree(new, part)
                self._copy_parts(old, place, copier, _PARTS)
                mend(old, theirs, new, kin.differing(new), kin.marks, copier)
        except (CannotMend, OSError):
            self._dismantle(place)
            return None
        settle()
        return copier.report

    def adopt(self, old: int, name: str) -> dict[str, Any]:
        """A new image equal to the one at this descriptor, which may be another helper's with the same layout."""
        report = self._copied(old, name)
        self._families.found(name, self._numbers[name], report.files)
        return reported(report)

    def _copied(self, old: int, name: str) -> Report:
        new = self._new(name)
        copier = Copier(limit_bytes=self._limit_bytes, from_image=True)
        try:
            self._copy_parts(old, new, copier, (*_PARTS, COPIES))
        except BaseException:
            self.drop(name)
            raise
        return copier.report

    def _copy_parts(self, old: int, new: str, copier: Copier, parts: tuple[str, ...]) -> None:
        for part in parts:
            copy_tree(part, f"{new}/{part}", part, copier, within=old)
        os.mkdir(f"{new}/scratch")
        for step in self._plan.layers():
            os.mkdir(f"{new}/scratch/{step.index}")

    def drop(self, name: str, *, is_empty: bool = True) -> None:
        """Forget an image; a sandbox that still runs over it (then it is not empty) keeps it alive until it ends."""
        place, kin = self.directory(name), self._families.leave(name)
        kin = kin if is_empty else None
        if kin is not None:
            self.room(name, None, None)
        if not self._families.keep(self._numbers.pop(name), kin):
            self._dismantle(place)

    def rename(self, name: str, new: str) -> None:
        """Let an image have another name."""
        self._numbers[new] = self._numbers.pop(name)
        if (kin := self._families.kin.pop(name, None)) is not None:
            self._families.kin[new] = kin

    def touched(self, name: str) -> None:
        """This image is about to change."""
        self._families.touched(name)

    def _dismantle(self, place: str) -> None:
        kernel.unmount(place)
        os.rmdir(place)

    def _base(self, path: str) -> tuple[str, str, str] | None:
        """(directory of the image, path below it, what the target calls that directory) of a target path; the deepest
        mount that covers it wins.
        """
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
        return None if best is None else (best[1], path[len(best[2]) :].strip("/"), best[2])

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
            return mounts.reach(top, parent, make=make, at=found[2]), last
        except mounts.Displaced as error:
            raise NotADirectoryError(20, str(error)) from None
        finally:
            os.close(top)

    def open(self, name: str, path: str, flags: int) -> int:
        """Open one entry; never follows a link, never blocks."""
        parent, last = self._parent(name, path)
        try:
            return os.open(last or ".", flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except PermissionError:  # of a device in a file system without devices
            if is_gone(parent, last):
                raise FileNotFoundError(errno.ENOENT, f"{path} is gone") from None
            raise
        finally:
            os.close(parent)

    def remove(self, name: str, path: str) -> None:
        """Remove one entry, with all below it; what lies below an upper layer does not come to light by that."""
        parent, last = self._parent(name, path)
        try:
            remove_tree(parent, last)
            if os.path.dirname(path) in self._layered and os.path.lexists(self._host + path):
                os.mknod(last, stat.S_IFCHR, 0, dir_fd=parent)
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
            os.stat(last, dir_fd=outer, follow_symlinks=False)
            inner, _ = self._parent(name, path, make=True)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(last, dir_fd=inner)  # that it is gone is written down where it lies over another one
                Copier(limit_bytes=self._limit, from_image=True).one(outer, inner, last, path)
                if is_new:
                    with contextlib.suppress(FileNotFoundError):
                        os.utime(last, dir_fd=inner, follow_symlinks=False)
            finally:
                os.close(inner)
        except FileNotFoundError:
            return
        finally:
            os.close(outer)

    def apart(self, name: str) -> dict[str, Any]:
        """What a listing of the first of the family (`first`, empty where there is none) would not say of this image:
        rows as of `walk`, of what differs and of all that is no copy, and paths that are gone."""
        kin = self._families.kin.get(name)
        first = self._families.first_of(kin.family) if kin is not None else ""
        if kin is None or kin.marks is None or not first:
            return {"first": "", "family": 0, "rows": [], "gone": []}
        with _opened(self.directory(name)) as top:
            differing = sorted(kin.differing(top))
        rows = self._walk_others(name)
        others = {row[0] for row in rows}
        gone: list[str] = [row[0] for row in self._walk_others(first) if row[0] not in others]
        for inner in differing:
            _, index, *rest = inner.split("/", 2)
            if rest:
                path = f"{self._copies[int(index)]}/{rest[0]}"
                found = self._rows_of(name, path, inside=False)
                rows.extend(found)
                gone.extend(() if found else [path])
        return {"first": first, "family": kin.family, "rows": rows, "gone": gone}

    def _rows_of(self, name: str, path: str, *, inside: bool = True) -> list[list[Any]]:
        """One entry as rows of `walk`, with all below it if so wanted; none if it is not there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            parent, last = self._parent(name, path)
            try:
                return [] if is_gone(parent, last) else list(self._listing.entry(parent, last, path, inside=inside))
            finally:
                os.close(parent)
        return []

    def walk(self, name: str) -> list[list[Any]]:
        """All entries of copies and fresh directories, what was made and the files beside it; rows as of a listing."""
        return self._walk_all(name, COPIES, self._copies) + self._walk_others(name)

    def _walk_others(self, name: str) -> list[list[Any]]:
        rows = self._walk_all(name, "fresh", FRESH)
        for path in (*self._made, *self._beside(name)):
            rows.extend(self._rows_of(name, path))
        return rows

    def _beside(self, name: str) -> Iterator[str]:
        """The files that came to stand beside what was made, such as a journal or a lock that was left."""
        for directory in sorted(self._layered):
            with _opened(self.locate(name, directory) or "") as top, os.scandir(top) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            yield from (path for one in names if (path := os.path.join(directory, one)) not in self._made)

    def _walk_all(self, name: str, kind: str, roots: Sequence[str]) -> list[list[Any]]:
        rows: list[list[Any]] = []
        for index, root in enumerate(roots):
            with _opened(f"{self.directory(name)}/{kind}/{index}") as top:
                rows.extend(self._listing.below(top, root))
        return rows

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


@contextlib.contextmanager
def _opened(place: str) -> Iterator[int]:
    top = os.open(place, _DIRECTORY)
    try:
        yield top
    finally:
        os.close(top)


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
