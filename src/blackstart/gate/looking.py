"""What a match, or whoever acts on one, may ask about a waiting call; looked up only where it matters.

`is_short` says beforehand whether the kernel will refuse the call for want of something. The limit itself is the
kernel's: this counts what the process has and what the file system has left, at a moment at which the caller cannot
move, and so tells a refusal from a success that the gate never sees.
"""

from __future__ import annotations

import os
import resource

from blackstart.core.trace import Operation
from blackstart.gate import calls as tables
from blackstart.gate import notify
from blackstart.gate.callsite import Sites
from blackstart.gate.tasks import Thread

SHORTAGES = ("descriptors", "memory", "size", "room")
_PAGE = 4096
_NEEDS_INODE = tables.OPENS | {"symlink", "symlinkat", "mkdir", "mkdirat", "mknod", "mknodat"}


class Looking:
    """One call that waits in the gate."""

    __slots__ = ("_sites", "_thread", "_operation")

    def __init__(self, sites: Sites, thread: Thread, operation: Operation) -> None:
        self._sites, self._thread, self._operation = sites, thread, operation

    @property
    def process(self) -> int:
        """The caller's process id, as seen from here."""
        return self._thread.process.pid

    @property
    def descriptor(self) -> int:
        """The descriptor that the call names, -1 if none."""
        return self._operation.fd

    def site(self) -> tuple[str, ...]:
        """Where in the program it is made: `file:function:line`, innermost first."""
        return self._sites.frames(self._thread)

    def exists(self) -> bool:
        """Whether something stands at its path."""
        return self._opened(self._operation.path) is not None

    def is_short(self, of: str) -> bool:
        """Whether the kernel will refuse this call, or a part of it, for want of one of SHORTAGES."""
        assert of in SHORTAGES, of
        try:
            if of == "descriptors":
                return self._lacks_descriptors()
            if of == "memory":
                return self._lacks_memory()
            return self._exceeds_size() if of == "size" else self._lacks_room()
        except (OSError, ValueError, IndexError):
            return False  # it ended meanwhile, or hides what is asked: no refusal was seen

    def _lacks_descriptors(self) -> bool:
        limit, _ = resource.prlimit(self.process, resource.RLIMIT_NOFILE)
        return sum(int(name) < limit for name in os.listdir(f"/proc/{self.process}/fd")) >= limit

    def _lacks_memory(self) -> bool:
        limit, _ = resource.prlimit(self.process, resource.RLIMIT_AS)
        with open(f"/proc/{self.process}/statm") as file:
            has_bytes = int(file.read().split()[0]) * _PAGE
        return limit != resource.RLIM_INFINITY and has_bytes + _pages(self._operation.size) * _PAGE > limit

    def _exceeds_size(self) -> bool:
        limit, _ = resource.prlimit(self.process, resource.RLIMIT_FSIZE)
        return limit != resource.RLIM_INFINITY and self._end()[1] > limit

    def _lacks_room(self) -> bool:
        operation = self._operation
        if operation.call in _NEEDS_INODE:
            parent = self._opened(os.path.dirname(operation.path))
            return parent is not None and parent.f_ffree == 0
        if operation.fd < 0 or operation.size <= 0:
            return False
        size, end = self._end()
        free = os.statvfs(f"/proc/{self._thread.tid}/fd/{operation.fd}")
        return max(0, _pages(end) - _pages(size)) * _PAGE > free.f_bavail * free.f_frsize

    def _end(self) -> tuple[int, int]:
        """(size of the file, size after this write)"""
        operation = self._operation
        place = f"/proc/{self._thread.tid}/fd"
        size = os.stat(f"{place}/{operation.fd}").st_size
        if operation.offset >= 0:
            return size, operation.offset + operation.size
        with open(f"{place}info/{operation.fd}") as file:
            about = dict(line.split(":", 1) for line in file if ":" in line)
        at = size if int(about["flags"], 8) & os.O_APPEND else int(about["pos"])
        return size, at + operation.size

    def _opened(self, path: str) -> os.statvfs_result | None:
        """The file system of what stands at a path of the target; None if nothing does."""
        try:
            found = notify.open_inside(self._thread.tid, path, os.O_PATH)
        except (OSError, ValueError):
            return None
        try:
            return os.fstatvfs(found)
        finally:
            os.close(found)


def _pages(size: int) -> int:
    return -(-max(size, 0) // _PAGE)
