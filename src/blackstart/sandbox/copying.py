"""Copies of directory trees that lose nothing a program could notice: holes, hard links, times, modes, attributes.

The trees may be the work of a hostile program: no name is followed, nothing is opened that could block, depth, count
and allocated bytes are bounded. The apparent size of a file does not matter, only what it occupies.
What cannot be kept (an owner that this user may not give away, a file that it may not read, a device) is listed, not
raised: the caller says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

DEPTH_MAX = 256
FILES_MAX = 250_000
LISTED_MAX = 50
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Whatever may have several names.
_JOINED = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)


class TooMuch(Exception):
    """The tree is larger than the copy may be."""


class Unreadable(Exception):
    """This user may not read an entry."""


@contextlib.contextmanager
def opened(parent: int, name: str, flags: int, info: os.stat_result, *, force: bool) -> Iterator[int]:
    """Open an entry; with `force` also one whose own mode forbids it to its owner, who then gets that mode back."""
    closed = False
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        if not force or info.st_uid != os.geteuid():
            raise Unreadable from None
        closed = True
        os.chmod(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        if closed:
            os.chmod(descriptor, stat.S_IMODE(info.st_mode))
        os.close(descriptor)


@dataclass
class Report:
    """What a copy took, and what it could not keep (the first LISTED_MAX paths of each sort)."""

    files: int = 0
    bytes: int = 0
    foreign: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def note(self, kept: list[str], path: str) -> None:
        """Remember one path."""
        if len(kept) < LISTED_MAX:
            kept.append(path)


class Copier:
    """Copies trees between open directories; one Copier for all parts of an image, so that the limits hold for all."""

    def __init__(self, *, limit_bytes: int, omit: frozenset[str] = frozenset(), from_image: bool = False) -> None:
        """from_image: what stands there is ours: overlay marks are kept, what was closed is opened for the copy."""
        self.report = Report()
        self._limit = limit_bytes
        self._omit = omit
        self._force = from_image
        self._links: dict[tuple[int, int], str] = {}
        self._root = -1
        self._buffer = memoryview(bytearray(1 << 18))
        self._user, self._group = os.geteuid(), os.getegid()

    def tree(self, source: int, target: int, path: str) -> None:
        """Copy what stands in the directory `source` into the empty directory `target`, and its own attributes."""
        self._root, self._links = target, {}
        self._entries(source, target, path.rstrip("/"), "", 0)
        self.attributes(source, target, os.fstat(source), path)

    def one(self, source: int, target: int, name: str, path: str) -> None:
        """Copy a single entry of that name from one open directory to another; nothing if it is not there."""
        self._root, self._links = target, {}
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
            self._entry(source, target, name, info, path, name, 0)

    def _entries(self, source: int, target: int, path: str, relative: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise TooMuch(f"directories are nested deeper than {DEPTH_MAX} at {path[:200]}")
        try:
            with os.scandir(source) as found:
                # In one order, since it is the order in which a target lists the copy.
                entries = sorted(found, key=lambda entry: entry.name)
        except PermissionError:
            self.report.note(self.report.unreadable, path)
            return
        for entry in entries:
            name = entry.name
            here = f"{path}/{name}"
            if here in self._omit:
                continue
            self.report.files += 1
            if self.report.files > FILES_MAX:
                raise TooMuch(f"more than {FILES_MAX} files")
            try:
                info = entry.stat(follow_symlinks=False)
                self._entry(source, target, name, info, here, relative + name, depth)
            except FileNotFoundError:
                continue  # it vanished while we looked: on the host others are at work

    def _entry(
        self, source: int, target: int, name: str, info: os.stat_result, path: str, relative: str, depth: int
    ) -> None:
        kind = stat.S_IFMT(info.st_mode)
        if info.st_nlink > 1 and kind in _JOINED and self._is_joined(target, name, info, relative):
            return
        if kind == stat.S_IFREG:
            self._file(source, target, name, info, path)
        elif kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            inner = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self._directory(source, inner, name, info, path, relative, depth)
            finally:
                os.close(inner)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            self._finish_special(target, name, info, path)
        elif kind in (stat.S_IFIFO, stat.S_IFSOCK) or (self._force and info.st_rdev == 0):
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
            self._finish_special(target, name, info, path)
        else:
            self.report.note(self.report.skipped, path)

    def _directory(
        self, source: int, inner: int, name: str, info: os.stat_result, path: str, relative: str, depth: int
    ) -> None:
        try:
            with opened(source, name, _DIRECTORY, info, force=self._force) as outer:
                self._entries(outer, inner, path, relative + "/", depth + 1)
                self.attributes(outer, inner, info, path)
        except Unreadable:
            self.report.note(self.report.unreadable, path)
            os.chmod(inner, 0)

    def _is_joined(self, target: int, name: str, info: os.stat_result, relative: str) -> bool:
        """Whether it is another name of what was copied before, and has become that."""
        first = self._links.setdefault((info.st_dev, info.st_ino), relative)
        if first != relative:
            os.link(first, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
        return first != relative

    def _file(self, source: int, target: int, name: str, info: os.stat_result, path: str) -> None:
        try:
            with opened(source, name, _READ, info, force=self._force) as reading:
                writing = os.open(name, _CREATE, info.st_mode & 0o777, dir_fd=target)
                try:
                    self._data(reading, writing, info, path)
                    self.attributes(reading, writing, info, path)
                finally:
                    os.close(writing)
        except Unreadable:
            self.report.note(self.report.unreadable, path)
            os.close(os.open(name, _CREATE, 0, dir_fd=target))

    def _data(self, reading: int, writing: int, info: os.stat_result, path: str) -> None:
        occupied = min(info.st_size, info.st_blocks * 512) if info.st_blocks else 0
        if self.report.bytes + occupied > self._limit:
            raise TooMuch(f"more than {self._limit >> 20} MB at {path[:200]}")
        if info.st_blocks * 512 >= info.st_size or (not info.st_blocks and info.st_size <= 4096):
            self._stretch(reading, writing, 0, info.st_size)
            return
        position = 0
        while position < info.st_size:
            try:
                start = os.lseek(reading, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            position = min(os.lseek(reading, start, os.SEEK_HOLE), info.st_size)
            self._stretch(reading, writing, start, position)
        os.ftruncate(writing, info.st_size)

    def _stretch(self, reading: int, writing: int, start: int, end: int) -> None:
        """Copy one run of bytes; through a buffer, which is faster here than sendfile and copy_file_range."""
        if start:
            os.lseek(writing, start, os.SEEK_SET)
        while start < end:
            view = self._buffer if end - start >= len(self._buffer) else self._buffer[: end - start]
            count = os.preadv(reading, [view], start)
            if count == 0:
                break
            written = 0
            while written < count:
                written += os.write(writing, view[written:count])
            start += count
            self.report.bytes += count
            if self.report.bytes > self._limit:
                raise TooMuch(f"more than {self._limit >> 20} MB")

    def attributes(self, source: int, target: int, info: os.stat_result, path: str) -> None:
        """Give the open `target` owner, mode, attributes and times of the open `source`."""
        given = self._owner(target, info, path)
        if given or info.st_mode & 0o7000 or stat.S_ISDIR(info.st_mode):
            os.chmod(target, stat.S_IMODE(info.st_mode))
        self._extended(source, target)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _owner(self, target: int, info: os.stat_result, path: str) -> bool:
        if (info.st_uid, info.st_gid) == (self._user, self._group):
            return False
        try:
            os.chown(target, info.st_uid, info.st_gid)
        except OSError:
            self.report.note(self.report.foreign, path)
        return True

    def _extended(self, source: int, target: int) -> None:
        try:
            names = os.listxattr(source)
        except OSError:
            return
        for name in names:
            if not name.startswith(("security.", "trusted.")):
                with contextlib.suppress(OSError):
                    os.setxattr(target, name, os.getxattr(source, name))

    def _finish_special(self, target: int, name: str, info: os.stat_result, path: str) -> None:
        if (info.st_uid, info.st_gid) != (self._user, self._group):
            try:
                os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
            except OSError:
                self.report.note(self.report.foreign, path)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def copy_tree(source: str, target: str, path: str, copier: Copier, *, within: int | None = None) -> None:
    """Copy the directory `source` (below the descriptor `within`) to the new directory `target`; `path` is what the
    target calls it.
    """
    outer = os.open(source, _DIRECTORY, dir_fd=within)
    try:
        os.mkdir(target, 0o700)
        inner = os.open(target, _DIRECTORY)
        try:
            copier.tree(outer, inner, path)
        finally:
            os.close(inner)
    finally:
        os.close(outer)


def remove_tree(parent: int, name: str) -> None:
    """Remove a file or a whole tree below an open directory, whatever modes it has."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    _remove_directory(parent, name)


def _remove_directory(parent: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(name, 0o700, dir_fd=parent)
    here = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(here) as found:
            entries = [(e.name, e.is_dir(follow_symlinks=False)) for e in found]
        for inner, is_directory in entries:
            if is_directory:
                _remove_directory(here, inner)
            else:
                os.unlink(inner, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=parent)
