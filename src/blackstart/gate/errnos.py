"""Which errors a system call can really give, and which of them its surroundings give.

`possible` is the table that tools/make_errnos.py makes of the man pages. `plausible` is the part of it that a healthy
program meets one day although it made no mistake: a failing disk, a full one, one that became read-only, no more
descriptors or memory, a peer that is gone. What would contradict the state at hand (ENOENT for a file that is there)
and what only a program's own error gives (EBADF, EFAULT) is not in it.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import resources

import msgspec

from blackstart.core.trace import DIRECTORY, FILE, SOCKET
from blackstart.gate import calls as tables

# In the order in which they are worth trying: the likeliest first.
_DISK_READ = ("EIO",)
_DISK_WRITE = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
_NEW_ENTRY = ("ENOSPC", "EDQUOT", "EIO", "EROFS")
_CHANGE_ENTRY = ("EIO", "EROFS")
_OPEN = ("EMFILE", "EIO", "ENFILE", "ENOMEM")
_CONNECT = ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EADDRNOTAVAIL")
_SEND = ("EPIPE", "ECONNRESET", "ENOBUFS")
_RECEIVE = ("ECONNRESET", "ETIMEDOUT")
_RESOURCES = ("EMFILE", "ENOBUFS", "ENFILE", "ENOMEM")
_PROCESS = ("EAGAIN", "ENOMEM")
_LOCK = ("ENOLCK",)


@cache
def _table() -> dict[str, tuple[str, ...]]:
    raw = resources.files("blackstart.gate").joinpath("errnos.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, tuple[str, ...]])


def possible(call: str) -> tuple[str, ...]:
    """All errors that this call can give, by name, sorted."""
    return _table()[tables.known(call).name]


def plausible(call: str, kind: str = FILE, flags: int = 0) -> tuple[str, ...]:
    """The errors that the surroundings give this call on this kind of object, the likeliest first.

    flags: the open flags, which say whether an open could make or change a file.
    """
    can = possible(call)
    return tuple(name for name in _wanted(call, kind, flags) if name in can)


def _wanted(call: str, kind: str, flags: int) -> tuple[str, ...]:
    if call in tables.SOCKETS:
        return _of_sockets(call)
    if call in tables.READS:
        return _RECEIVE if kind == SOCKET else _DISK_READ if kind in (FILE, DIRECTORY) else ()
    if call in tables.WRITES | tables.COPIES or call == "fallocate":
        return _SEND if kind == SOCKET else _DISK_WRITE if kind == FILE else ()
    if call in tables.OPENS:
        return _of_opens(call, flags)
    if call in tables.SYNCS:
        return ("EIO", "ENOSPC", "EDQUOT", "EROFS") if kind in (FILE, DIRECTORY) else ()
    if call == "close":
        return ("EIO", "ENOSPC", "EDQUOT") if kind == FILE else ()
    if call in tables.RENAMES:
        return ("EIO", "ENOSPC", "EDQUOT", "EROFS")
    if call in tables.MAKES or call.endswith("setxattr"):
        return _NEW_ENTRY
    if call in tables.REMOVES | tables.ATTRIBUTES | tables.SIZES:
        return _CHANGE_ENTRY
    if call in tables.LOOKUPS:
        return _DISK_READ
    if call in tables.LOCKS:
        return _LOCK
    if call in ("fork", "vfork", "clone", "clone3", "execve", "execveat"):
        return _PROCESS if call[:4] != "exec" else ("ENOMEM", "EIO")
    return ("ENOMEM",) if call == "mmap" else ()


def _of_opens(call: str, flags: int) -> tuple[str, ...]:
    if call == "creat" or flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        return ("ENOSPC", *_OPEN, "EDQUOT", "EROFS")
    return (*_OPEN, "EROFS") if flags & (os.O_ACCMODE | os.O_TRUNC) else _OPEN


def _of_sockets(call: str) -> tuple[str, ...]:
    if call == "connect":
        return _CONNECT
    if call in ("bind", "listen"):
        return ("EADDRINUSE", "EACCES")
    if call in ("sendto", "sendmsg", "sendmmsg"):
        return _SEND
    if call in ("recvfrom", "recvmsg"):
        return _RECEIVE
    return _RESOURCES if call in ("socket", "accept", "accept4") else ()
