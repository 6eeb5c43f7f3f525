"""What stands in an image, as rows: path, kind, size, mode, links, target of a link, time of the last change."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from blackstart.sandbox.copying import TooMuch, opened

DEPTH_MAX = 256
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


def is_gone(parent: int, name: str) -> bool:
    """Whether an overlay is told there that what lies below is gone (a whiteout: a character device 0, 0)."""
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


class Listing:
    """Lists what lies below open directories; those that are ours (`stubs`) are left out, not what they hold."""

    def __init__(self, stubs: frozenset[str]) -> None:
        self._stubs = stubs

    def below(self, here: int, path: str, depth: int = 0) -> Iterator[list[Any]]:
        """All below an open directory, which the target calls `path`. Raises TooMuch below the deepest level."""
        if depth > DEPTH_MAX:
            raise TooMuch(f"directories are nested deeper than {DEPTH_MAX} at {path[:200]}")
        with os.scandir(here) as found:
            entries = sorted(found, key=lambda e: e.name)
        for entry in entries:
            yield from self.entry(here, entry.name, f"{path}/{entry.name}", depth)

    def entry(self, here: int, name: str, path: str, depth: int = 0, *, inside: bool = True) -> Iterator[list[Any]]:
        """One entry of an open directory; inside: with all below it."""
        info = os.stat(name, dir_fd=here, follow_symlinks=False)
        kind = kind_of(info.st_mode)
        if not (kind == "directory" and path in self._stubs):
            target = os.readlink(name, dir_fd=here) if kind == "link" else ""
            yield [path, kind, info.st_size, stat.S_IMODE(info.st_mode), info.st_nlink, target, info.st_mtime_ns]
        if kind == "directory" and inside:
            with opened(here, name, _DIRECTORY, info, force=True) as below_here:
                yield from self.below(below_here, path, depth + 1)
