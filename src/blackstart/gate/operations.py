"""From a notification to an Operation: which file, which bytes, where, the how-manieth of its kind.

Each call is counted by (call, masked path), because this number is the same in every run of a program even when its
threads or its temporary names differ. Sizes and addresses come from the target and may be anything: what is kept of
its memory is bounded, and a pointer that leads nowhere gives an empty path, not an error.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable

from blackstart.core.trace import FILE, OTHER, Operation
from blackstart.gate.calls import Call
from blackstart.gate.places import Places, kind_of_entry, socket_name
from blackstart.gate.tasks import Process, Thread

_AT_CWD = -100
_SIZE_MAX = (1 << 63) - 1
_NEGATIVE = 1 << 63
_VECTOR_MAX, _CONNECTS_MAX = 1024, 10_000
_KNOWN_MAX = 65536
# A target that makes up names without end is not counted without end.
_COUNTED_MAX = 1_000_000
_POSITIONED = frozenset({"write", "writev", "read", "readv"})
_WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2"})

# A notification as it was received: id, thread, flags, call number, architecture, instruction pointer, six arguments.
Event = tuple[int, ...]


def signed(value: int) -> int:
    """A descriptor as the kernel reads it: the low 32 bits, signed."""
    value &= 0xFFFFFFFF
    return value if value < 0x80000000 else value - 0x100000000


class Reader:
    """Makes Operations. data_max: how many bytes written are kept of each; positions: whether offsets of plain writes
    are asked for (a look into /proc each); connects: when, and to what; connected: the latter, not masked, and
    where else something was sent to an address.
    """

    def __init__(
        self, places: Places, mask: Callable[[str], str], *, data_max: int = 0, positions: bool = False
    ) -> None:
        self.places = places
        self.connects: deque[tuple[float, str]] = deque(maxlen=_CONNECTS_MAX)
        self.connected: set[str] = set()
        self.data_max = data_max
        self.positions = positions
        self._mask = mask
        self._known: dict[str, tuple[str, dict[str, int]]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def masked(self, path: str) -> str:
        """The masked path, as in the operations."""
        return (self._known.get(path) or self._know(path))[0]

    def operation(self, call: Call, thread: Thread, event: Event, index: int, at_s: float) -> Operation:
        """The operation that this notification announces."""
        flags = event[call.flags] & 0xFFFFFFFF if call.flags >= 0 else 0
        size = event[call.size] if call.size >= 0 else -1
        offset = event[call.offset] if call.offset >= 0 else -1
        process = thread.process
        path2, data = "", b""
        if call.is_plain:
            number = signed(event[call.fd])
            path, kind = process.described.get(number) or self.places.descriptor(thread, number)
            if call.data >= 0 and self.data_max:
                data = process.read(event[call.data], min(size, self.data_max))
        else:
            path, path2, kind, number, flags = self._objects(call, thread, event, flags)
            if call.vector >= 0 or call.message >= 0 or (call.data >= 0 and self.data_max):
                data, size = self._bytes(call, process, event, size)
        status = 0
        if self.positions and kind == FILE and (call.name in _POSITIONED or call.name in _WRITES):
            position, status = _position(thread, number)
            if call.name in _POSITIONED or status & os.O_APPEND:
                offset = position
        masked, counts = self._known.get(path) or self._know(path)
        name = call.name
        if call.address >= 0 and name == "connect":
            self.connected.add(path)
            self.connects.append((at_s, masked))
        elif call.address >= 0 and name == "sendto" and event[call.address] and len(self.connected) < _CONNECTS_MAX:
            self.connected.add(path)
        nth = counts[name] = counts.get(name, 0) + 1
        # The first seven by place: of more than fifteen by name CPython makes a dictionary, which takes as long as all
        # the rest.
        return Operation(
            index,
            name,
            nth,
            path,
            path2,
            masked,
            kind,
            process=process.inner_pid,
            thread=thread.inner_tid,
            fd=number,
            offset=offset if offset < _NEGATIVE else offset - (_NEGATIVE << 1),
            size=size if size < _SIZE_MAX else _SIZE_MAX,
            flags=flags,
            status=status,
            data=data,
            at_s=at_s,
        )

    def _know(self, path: str) -> tuple[str, dict[str, int]]:
        """The masked path, and how often each call was seen with it; each path is masked once."""
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        masked = self._mask(path)
        if masked not in self._counts and len(self._counts) >= _COUNTED_MAX:
            return masked, {}
        found = self._known[path] = masked, self._counts.setdefault(masked, {})
        return found

    def _objects(self, call: Call, thread: Thread, event: Event, flags: int) -> tuple[str, str, str, int, int]:
        """(path, path2, kind, descriptor, flags) of a call that names more than one descriptor."""
        path, path2, kind, number = "", "", OTHER, -1
        if call.how >= 0:
            flags = _open_how_flags(thread.process, event[call.how])
        if call.path >= 0:
            path, path2 = self._paths(call, thread, event)
            kind = kind_of_entry(call.name, path, flags)
        if call.fd >= 0:
            number = signed(event[call.fd])
            path, kind = self.places.descriptor(thread, number)
            if call.source >= 0:
                path2 = self.places.descriptor(thread, signed(event[call.source]))[0]
        if call.address >= 0:
            path = self._address(call, thread, event, number) or path
        return path, path2, kind, number, flags

    def _paths(self, call: Call, thread: Thread, event: Event) -> tuple[str, str]:
        places, process = self.places, thread.process
        directory = signed(event[call.at]) if call.at >= 0 else _AT_CWD
        raw = process.text(event[call.path])
        if not raw and directory >= 0:
            # AT_EMPTY_PATH, or no path at all: the descriptor itself is meant.
            path = places.descriptor(thread, directory)[0]
        else:
            path = places.path(thread, directory, raw)
        if call.path2 >= 0:
            directory = signed(event[call.at2]) if call.at2 >= 0 else _AT_CWD
            return path, places.path(thread, directory, process.text(event[call.path2]))
        if call.target >= 0:
            return path, os.fsdecode(process.text(event[call.target]))
        return path, ""

    def _address(self, call: Call, thread: Thread, event: Event, number: int) -> str:
        address = event[call.address]
        if not address:
            return ""
        name = socket_name(thread.process.read(address, min(event[call.length] & 0xFFFFFFFF, 128)))
        if call.name in ("connect", "bind"):
            self.places.named_socket(thread, number, name)
        return name

    def _bytes(self, call: Call, process: Process, event: Event, size: int) -> tuple[bytes, int]:
        """(what is written, as far as it is kept; its size)"""
        if call.vector >= 0:
            pieces = vector(process, event[call.vector], event[call.count])
            size = sum(length for _, length in pieces)
            return (gather(process, pieces, self.data_max) if self.data_max else b""), min(size, _SIZE_MAX)
        if call.message >= 0:
            header = process.read(event[call.message], 56)
            if len(header) < 56:
                return b"", -1
            address, count = struct.unpack_from("=QQ", header, 16)
            pieces = vector(process, address, count)
            size = sum(length for _, length in pieces)
            return (gather(process, pieces, self.data_max) if self.data_max else b""), min(size, _SIZE_MAX)
        if call.data >= 0 and self.data_max:
            return process.read(event[call.data], min(size, self.data_max)), size
        return b"", size


def vector(process: Process, address: int, count: int) -> list[tuple[int, int]]:
    """The (address, length) pairs of an iovec array; none if it is not readable or too long for the kernel."""
    if not 0 < count <= _VECTOR_MAX:
        return []
    raw = process.read(address, 16 * count)
    return list(struct.iter_unpack("=QQ", raw[: len(raw) - len(raw) % 16]))


def gather(process: Process, pieces: list[tuple[int, int]], limit: int) -> bytes:
    """The bytes of these pieces, at most `limit`."""
    found = b""
    for address, length in pieces:
        if len(found) >= limit:
            break
        wanted = min(length, limit - len(found))
        piece = process.read(address, wanted)
        found += piece
        if len(piece) < wanted:
            break
    return found


def _open_how_flags(process: Process, address: int) -> int:
    raw = process.read(address, 8)
    return int.from_bytes(raw, "little") & 0xFFFFFFFF if len(raw) == 8 else 0


def _position(thread: Thread, number: int) -> tuple[int, int]:
    """Where the next write of this descriptor goes: its position, or the end of the file if it only appends; and the
    flags of the open file.
    """
    for _ in range(2):
        information = _fdinfo(thread, number)
        if information < 0:
            break
        try:
            text = os.pread(information, 256, 0).split()
            position, flags = int(text[1]), int(text[3], 8)
            appends = flags & os.O_APPEND
            return os.stat(f"/proc/{thread.tid}/fd/{number}").st_size if appends else position, flags
        except (FileNotFoundError, ProcessLookupError):  # the thread by which it was opened may be no more
            os.close(thread.process.positions.pop(number))
        except (OSError, ValueError, IndexError):
            break
    return -1, 0


def _fdinfo(thread: Thread, number: int) -> int:
    """An open file that tells of this descriptor, kept for the whole process; -1 where there is none."""
    positions = thread.process.positions
    if number not in positions:
        if len(positions) >= 64:
            thread.process.forget_positions()
        try:
            positions[number] = os.open(f"/proc/{thread.tid}/fdinfo/{number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1
    return positions[number]
