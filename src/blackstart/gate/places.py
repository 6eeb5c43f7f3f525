"""What a descriptor or a path of the target refers to: paths as the target sees them, and kinds.

The path of a descriptor is looked up once per process and kept, as long as nothing happened that may change it: the
gate sees a call *before* the kernel does it, so after a close, dup2, rename or unlink nothing new is kept until the
thread that made it is seen again (the call is over then), or 50 ms later. Where such calls do not pass the gate,
nothing is kept at all. Directories are resolved, so that a file has one name whether it was opened through a link or
not.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence

import msgspec

from blackstart.core.trace import DIRECTORY, FILE, OTHER, PIPE, SOCKET, TTY, Operation
from blackstart.gate import notify
from blackstart.gate.calls import Call
from blackstart.gate.tasks import Process, Thread

_SETTLED_AFTER_S = 0.05
_KEPT_MAX = 4096
_PROCESSES_MAX = 64
_AT_CWD = -100
_AT_REMOVEDIR = 0x200
_OF_DIRECTORIES = frozenset({"mkdir", "mkdirat", "rmdir", "chdir"})
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFIFO: PIPE, stat.S_IFSOCK: SOCKET}


def stream_names(stdin: int | None = None, stdout: int | None = None, stderr: int | None = None) -> dict[str, str]:
    """Link text of our own ends' pipes -> `stdin`, `stdout`, `stderr`: how the target's standard streams are named."""
    names = {}
    for name, descriptor in (("stderr", stderr), ("stdout", stdout), ("stdin", stdin)):
        if descriptor is not None:
            link = os.readlink(f"/proc/self/fd/{descriptor}")
            if not link.startswith("/"):
                names[link] = name
    return names


class _Change(msgspec.Struct, frozen=True):
    """What may mean something else soon: a descriptor of a process (None: all of them), or what lies at or below these
    paths (none: everything).
    """

    process: Process | None = None
    number: int | None = None
    paths: tuple[str, ...] = ()


def change_by(call: Call, process: Process, event: Sequence[int], operation: Operation | None) -> _Change:
    """What this call, one of the bookkeeping ones, is about to change."""
    name = call.name
    if name == "close":
        return _Change(process, event[call.fd])
    if name in ("dup2", "dup3"):
        # The second argument is the number that will mean what the first one does.
        return _Change(process, event[call.fd + 1])
    if name in ("chdir", "fchdir"):
        return _Change(process, _AT_CWD)
    if name in ("close_range", "execve", "execveat"):
        return _Change(process)
    if operation is None or not operation.path:
        return _Change()
    return _Change(paths=(operation.path, operation.path2) if operation.path2 else (operation.path,))


class Places:
    """Looks up descriptors and paths. streams: link text -> name; keep: whether descriptors may be remembered."""

    def __init__(self, *, streams: Mapping[str, str] | None, keep: bool) -> None:
        self._streams = None if streams is None else dict(streams)
        self._keep = keep
        self.pending: dict[int, _Change] = {}
        self._kept_again_s = 0.0
        self._now_s = 0.0
        self._sockets: dict[str, str] = {}
        self._directories: dict[str, str] = {}
        self._ancestors: set[str] = set()
        self._processes: set[Process] = set()

    def seen(self, tid: int, now_s: float) -> None:
        """A thread is back: what it did before is done. To be called while changes are pending."""
        change = self.pending.pop(tid, None)
        if change is not None:
            self._forget(change)
        self._now_s = now_s
        if not self.pending:
            self._kept_again_s = 0.0

    def changes(self, tid: int, now_s: float, change: _Change) -> None:
        """This thread is about to do something after which descriptors or names may mean something else."""
        if self._keep:
            if len(self.pending) >= _KEPT_MAX:
                self.pending.clear()
            self.pending[tid] = change
            self._now_s, self._kept_again_s = now_s, now_s + _SETTLED_AFTER_S
            self._forget(change)

    def _forget(self, change: _Change) -> None:
        if change.process is not None:
            if change.number is None:
                change.process.described.clear()
            else:
                change.process.described.pop(change.number, None)
        elif len(self._processes) > _PROCESSES_MAX or not change.paths:
            for process in self._processes:
                process.described.clear()
            self._processes.clear()
        else:
            below = tuple(path + "/" for path in change.paths)
            for process in self._processes:
                described = process.described
                gone = [n for n, (path, _) in described.items() if path in change.paths or path.startswith(below)]
                for number in gone:
                    del described[number]

    def moves(self, path: str) -> None:
        """An entry is about to be renamed, removed or made: directories found through it are looked up again."""
        if path in self._ancestors:
            self._directories.clear()
            self._ancestors.clear()

    def descriptor(self, thread: Thread, number: int) -> tuple[str, str]:
        """(path, kind) of a descriptor; ("", other) if it is not open. AT_FDCWD is the working directory."""
        process = thread.process
        found = process.described.get(number)
        if found is not None:
            return found
        if number < 0 and number != _AT_CWD:
            return "", OTHER
        found = self._look_up(thread, number)
        # What is not open is not kept: the next open may give this number.
        if self._keep and found[0] and self._now_s >= self._kept_again_s:
            if len(process.described) >= _KEPT_MAX:
                process.described.clear()
            self._processes.add(process)
            process.described[number] = found
        return found

    def _look_up(self, thread: Thread, number: int) -> tuple[str, str]:
        if self._streams is None:
            self._streams = _standard_streams(thread.tid)
        if number == _AT_CWD:
            try:
                return os.readlink(f"/proc/{thread.tid}/cwd"), DIRECTORY
            except OSError:
                return "", OTHER
        place = f"/proc/{thread.tid}/fd/{number}"
        try:
            link = os.readlink(place)
        except OSError:
            return "", OTHER
        name = self._streams.get(link)
        if name is not None:
            return name, SOCKET if link.startswith("socket:") else PIPE
        if link.startswith("/"):
            return link, _kind_of(place, link)
        if link.startswith("socket:"):
            return self._sockets.get(link, "socket:"), SOCKET
        if link.startswith("pipe:"):
            return "pipe:", PIPE
        return link, OTHER

    def is_stream(self, thread: Thread, number: int) -> bool:
        """Whether the descriptor is one of the target's standard streams."""
        return self.descriptor(thread, number)[0] in ("stdin", "stdout", "stderr")

    def named_socket(self, thread: Thread, number: int, name: str) -> None:
        """The socket behind this descriptor is being connected or bound: it has a name from now on."""
        try:
            link = os.readlink(f"/proc/{thread.tid}/fd/{number}")
        except OSError:
            return
        if len(self._sockets) >= _KEPT_MAX:
            self._sockets.clear()
        self._sockets[link] = name
        thread.process.described.pop(number, None)

    def path(self, thread: Thread, directory: int, raw: bytes) -> str:
        """The absolute path of a path argument; "" where the pointer led nowhere."""
        if not raw:
            return ""
        text = os.fsdecode(raw)
        if not text.startswith("/"):
            base = self._base(thread, directory)
            text = f"{base}/{text}" if base != "/" else f"/{text}"
        if "/." in text or "//" in text or text.endswith("/"):
            text = os.path.normpath(text)
            text = text[1:] if text.startswith("//") else text
        head, _, tail = text.rpartition("/")
        return f"{self._directory(thread, head)}/{tail}" if head else text

    def _base(self, thread: Thread, directory: int) -> str:
        return self.descriptor(thread, directory)[0] or "?"

    def _directory(self, thread: Thread, asked: str) -> str:
        """The directory without links in it; as asked where it does not exist."""
        found = self._directories.get(asked)
        if found is not None:
            return found
        try:
            descriptor = notify.open_inside(thread.tid, asked, os.O_PATH | os.O_DIRECTORY)
        except (OSError, ValueError):
            return asked
        try:
            real = os.readlink(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        real = "" if real == "/" else real
        if len(self._directories) >= _KEPT_MAX:
            self._directories.clear()
            self._ancestors.clear()
        if not asked.startswith("/proc"):
            self._directories[asked] = real
            while asked:
                self._ancestors.add(asked)
                asked = asked.rpartition("/")[0]
        return real


def kind_of_entry(call: str, path: str, flags: int) -> str:
    """The kind of what a call names by a path: what the call itself says of it, else by its place."""
    if call in _OF_DIRECTORIES or (call == "unlinkat" and flags & _AT_REMOVEDIR):
        return DIRECTORY
    kind = kind_of_path(path)
    return DIRECTORY if kind == FILE and call.startswith("open") and flags & os.O_DIRECTORY else kind


def kind_of_path(path: str) -> str:
    """The kind that a path argument most probably has, by its place alone."""
    if path.startswith("/dev/"):
        if path.startswith("/dev/shm/"):
            return FILE
        return TTY if path == "/dev/tty" or path.startswith("/dev/pts/") else OTHER
    return OTHER if path.startswith(("/proc/", "/sys/")) else FILE


def _kind_of(place: str, link: str) -> str:
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return OTHER
    if stat.S_ISCHR(mode):
        return TTY if link.startswith(("/dev/pts/", "/dev/tty", "/dev/console")) else OTHER
    return OTHER if link.startswith(("/proc/", "/sys/")) else _KINDS.get(stat.S_IFMT(mode), OTHER)


def _standard_streams(tid: int) -> dict[str, str]:
    """The pipes and sockets that the first thread of all has as its descriptors 0, 1 and 2."""
    names = {}
    for number, name in ((2, "stderr"), (1, "stdout"), (0, "stdin")):
        try:
            link = os.readlink(f"/proc/{tid}/fd/{number}")
        except OSError:
            continue
        if link.startswith(("pipe:", "socket:")):
            names[link] = name
    return names


def socket_name(address: bytes) -> str:
    """The name of a sockaddr: `socket:unix:/path`, `socket:inet:1.2.3.4:80`, `socket:inet6:[::1]:80`."""
    if len(address) < 2:
        return "socket:"
    family = struct.unpack_from("=H", address)[0]
    if family == _AF_UNIX:
        body = address[2:110]
        abstract = body[:1] == b"\0" and len(body) > 1
        name = b"@" + body[1:] if abstract else body.split(b"\0")[0]
        return "socket:unix:" + os.fsdecode(name)
    if family == _AF_INET and len(address) >= 8:
        port, *parts = struct.unpack_from(">H4B", address, 2)
        return "socket:inet:{}.{}.{}.{}:{}".format(*parts, port)
    if family == _AF_INET6 and len(address) >= 24:
        import socket

        port = struct.unpack_from(">H", address, 2)[0]
        return f"socket:inet6:[{socket.inet_ntop(socket.AF_INET6, address[8:24])}]:{port}"
    return "socket:netlink" if family == _AF_NETLINK else f"socket:family{family}"
