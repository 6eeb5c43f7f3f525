"""Operations as values: what a program asked of its system, in order.

An operation is one intercepted system call, seen *before* the kernel carries it out: its result is unknown
unless the gate carried it out itself. Paths are as the target sees them, decoded with `surrogateescape`.
"""

from __future__ import annotations

import os

import msgspec

# What a descriptor or path refers to.
FILE, DIRECTORY, PIPE, SOCKET, TTY, OTHER = "file", "directory", "pipe", "socket", "tty", "other"

# Calls after which files or directory entries may differ.
CHANGING = frozenset(
    "write pwrite64 writev pwritev pwritev2 truncate ftruncate fallocate sendfile copy_file_range splice "
    "rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat mknod mknodat "
    "chmod fchmod fchmodat chown fchown lchown fchownat utimensat setxattr fsetxattr lsetxattr "
    "removexattr fremovexattr lremovexattr".split()
)
# Calls that ask for durability.
SYNCING = frozenset("fsync fdatasync sync syncfs sync_file_range msync".split())
# Calls that open by path; they change directory entries only with O_CREAT or O_TRUNC in flags.
OPENING = frozenset("open openat openat2 creat".split())
# With one of these flags. They are never written as numbers: O_DIRECTORY and others differ between architectures.
# O_TMPFILE, which is Linux's alone, holds O_DIRECTORY, which makes nothing.
_MAKING = os.O_CREAT | os.O_TRUNC | (getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY)
# Calls that make a process or a thread.
FORKS = ("fork", "vfork", "clone", "clone3")
# Calls that ask about a path without opening it.
LOOKING = frozenset("stat lstat newfstatat statx access faccessat faccessat2".split())
# Calls that take content, names or attributes of what is already open.
READING = frozenset("read pread64 readv preadv preadv2 mmap getdents getdents64 readlink readlinkat fstat".split())


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One system call of the target, before it happens.

    index: position in the trace, from 0; nth: how often (call, masked path) has been seen, from 1;
    process, thread: ids inside the sandbox; offset, size: bytes (-1: not applicable);
    flags: the call's own flag argument (open flags, rename flags), 0 if none; status: the open file's own flags
    (O_APPEND, O_SYNC, O_DIRECT ...) at a write, where the recorder was asked for offsets;
    at_s: seconds since the target's start; site: frames `file:function:line`, innermost first, () if unknown.
    """

    index: int
    call: str
    nth: int = 1
    path: str = ""
    path2: str = ""
    masked: str = ""
    kind: str = OTHER
    process: int = 0
    thread: int = 0
    fd: int = -1
    offset: int = -1
    size: int = -1
    flags: int = 0
    status: int = 0
    data: bytes = b""
    at_s: float = 0.0
    site: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What is done to what, the same in every run: the call and the masked path."""
        return f"{self.call} {self.masked or self.path}"

    @property
    def is_opening_for_change(self) -> bool:
        """An open that may create or truncate."""
        return self.call == "creat" or (self.call in OPENING and bool(self.flags & _MAKING))

    @property
    def changes(self) -> bool:
        """Whether files or directory entries may differ afterwards."""
        return self.is_opening_for_change or (self.call in CHANGING and self.kind in (FILE, DIRECTORY))

    @property
    def reads(self) -> bool:
        """Whether it only asks: for content, names or attributes, or for a descriptor without changing anything."""
        is_opening = self.call in OPENING and not self.is_opening_for_change and not self.flags & os.O_ACCMODE
        return is_opening or self.call in READING or self.call in LOOKING
