"""A tar archive that anybody may unpack, and that is the same, byte for byte, whenever its content is.

Names are in one order and below one directory; owners, times and set-id bits say nothing of the machine. What is in it
may be the work of a hostile program: nothing is followed, a link that could lead out of the archive is left out, as
are devices, sockets, pipes and what is too large; the caller says so.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from blackstart.core.units import format_size

SIZE_MAX_BYTES = 1 << 30
# 1980, which is as far back as every format and tool knows; nothing here is newer than anything else.
MOMENT_S = 315532800


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in the archive: its name there, and why."""

    name: str
    why: str


class Archive:
    """Collects members, then writes them; the files of trees must stay as they are until then, and be ours alone."""

    def __init__(self, top: str, *, limit_bytes: int = SIZE_MAX_BYTES) -> None:
        """top: the directory that all lies in; limit_bytes: of all files together, before compression."""
        self.top = safe_name(top)
        self.left_out: list[LeftOut] = []
        self._left_bytes = limit_bytes
        self._members: dict[str, tuple[tarfile.TarInfo, bytes | str]] = {}
        self._links: dict[tuple[int, int], str] = {}

    def add(self, name: str, data: bytes, *, mode: int = 0o644) -> None:
        """A file of ours."""
        member = self._member(name, tarfile.REGTYPE, mode)
        member.size = len(data)
        self._left_bytes -= len(data)
        self._members[name] = (member, data)

    def add_tree(self, place: str, name: str, roots: tuple[str, ...] = ()) -> None:
        """The directory `place` as `name`; roots: absolute paths whose trees lie in it by these paths, so that an
        absolute link from one of them into another can lead there.
        """
        self._members[name] = (self._member(name, tarfile.DIRTYPE, 0o755), "")
        for path, info in _walk(place):
            inside = f"{name}/{os.path.relpath(path, place)}"
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFDIR:
                self._members[inside] = (self._member(inside, tarfile.DIRTYPE, info.st_mode & 0o777), "")
            elif kind == stat.S_IFREG:
                self._file(inside, path, info)
            elif kind == stat.S_IFLNK:
                self._link(inside, name, os.readlink(path), roots)
            else:
                self._leave_out(inside, "it is no file, directory or link")

    def write(self, file: BinaryIO) -> None:
        """Write it, compressed."""
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(self._member("", tarfile.DIRTYPE, 0o755))
            for name in sorted(self._members, key=lambda name: name.split("/")):
                member, content = self._members[name]
                if not member.isreg():
                    archive.addfile(member)
                elif isinstance(content, bytes):
                    archive.addfile(member, io.BytesIO(content))
                else:
                    with _readable(content) as data:
                        archive.addfile(member, data)

    def _member(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(f"{self.top}/{name}".rstrip("/"))
        member.type, member.mode, member.mtime = kind, mode, MOMENT_S
        return member

    def _file(self, name: str, path: str, info: os.stat_result) -> None:
        first = self._links.setdefault((info.st_dev, info.st_ino), name)
        if first != name and first in self._members:
            member = self._member(name, tarfile.LNKTYPE, info.st_mode & 0o777)
            member.linkname = f"{self.top}/{first}"
            self._members[name] = (member, "")
        elif info.st_size > self._left_bytes:
            self._leave_out(name, f"it is too large ({format_size(info.st_size)})")
        else:
            member = self._member(name, tarfile.REGTYPE, info.st_mode & 0o777)
            member.size = info.st_size
            self._left_bytes -= info.st_size
            self._members[name] = (member, path)

    def _link(self, name: str, tree: str, target: str, roots: tuple[str, ...]) -> None:
        shown = contained_target(name.removeprefix(f"{tree}/"), target, roots)
        if shown is None:
            self._leave_out(name, f"it is a link out of here, to {target}")
            return
        member = self._member(name, tarfile.SYMTYPE, 0o777)
        member.linkname = shown
        self._members[name] = (member, "")

    def _leave_out(self, name: str, why: str) -> None:
        self.left_out.append(LeftOut(name=name, why=why))


def contained_target(link: str, target: str, roots: tuple[str, ...]) -> str | None:
    """What a link at the relative path `link` may hold so that it stays in its tree; None where it leads out.

    Only leading `..` are trusted: what comes after another link may be anywhere.

    >>> contained_target("w/data/now", "../old", ()), contained_target("w/now", "../../etc", ())
    ('../old', None)
    >>> contained_target("w/data/now", "/w/data/v1", ("/w/data",)), contained_target("w/now", "sub/../..", ())
    ('v1', None)
    """
    if target.startswith("/"):
        whole = os.path.normpath(target)
        if ".." in target.split("/") or not any(whole == root or whole.startswith(f"{root}/") for root in roots):
            return None
        return os.path.relpath(whole, os.path.dirname(f"/{link}"))
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return None if ".." in parts[up:] or up > link.count("/") or not target else target


def safe_name(text: str) -> str:
    """A file's name of this text, whoever wrote it.

    >>> safe_name("lost-1a2b"), safe_name("../../etc/x y")
    ('lost-1a2b', '_.._etc_x_y')
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".-")[:100] or "finding"


def _walk(place: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below, in one order; a directory closed to its owner is opened for it, and said as it was."""
    with os.scandir(place) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        info = entry.stat(follow_symlinks=False)
        yield entry.path, info
        if stat.S_ISDIR(info.st_mode):
            if not info.st_mode & stat.S_IRUSR or not info.st_mode & stat.S_IXUSR:
                os.chmod(entry.path, 0o700)
            yield from _walk(entry.path)


def _readable(path: str) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except PermissionError:
        os.chmod(path, 0o600)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.fdopen(descriptor, "rb")
