"""Reads what strace writes (`-f -y -xx -X raw`): one system call a line, as Operations like those of the gate.

Strings are all hexadecimal, so no byte of a name can be taken for syntax. A call that another thread overtakes is
written in two pieces; it counts from where it began, as in the gate. Relative paths are followed through chdir and
fork, since strace does not print the working directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping

from blackstart.core.trace import DIRECTORY, FILE, FORKS, OTHER, PIPE, SOCKET, TTY, Operation
from blackstart.gate.calls import CALLS, Call
from blackstart.gate.filter import LOCK_COMMANDS
from blackstart.gate.places import kind_of_entry, kind_of_path, socket_name

# What strace has to be asked for besides, to know the working directories.
FOLLOWED = frozenset(("chdir", "fchdir", *FORKS))
_LINE = re.compile(r"(\d+) +(?:(\d+\.\d+) )?(.*)$", re.DOTALL)
_BEGUN = re.compile(r"(\w+)\((.*)$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_TEXT = re.compile(r'@?"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(-?\d+)(?:<((?:\\x[0-9a-f]{2})*)(?:<[^>]*>)?>(\(deleted\))?)?$")
_SHARED, _ANONYMOUS, _WRITABLE = 1, 0x20, 2


class Line:
    """One call: thread, name, arguments as text, what stands behind the closing parenthesis."""

    __slots__ = ("thread", "name", "arguments", "result")

    def __init__(self, thread: int, name: str, arguments: list[str], result: str) -> None:
        self.thread = thread
        self.name = name
        self.arguments = arguments
        self.result = result


def lines(text: Iterable[str]) -> list[Line]:
    """The calls in the order in which they began; a call that never came back counts too."""
    found: list[tuple[int, str, list[str]]] = []
    open_calls: dict[int, tuple[int, str, list[str]]] = {}
    for one in text:
        whole = _LINE.match(one.rstrip("\n"))
        if not whole:
            continue
        thread, rest = int(whole[1]), whole[3]
        if resumed := _RESUMED.match(rest):
            if thread in open_calls:
                open_calls.pop(thread)[2].append(resumed[2])
        elif begun := _BEGUN.match(rest):
            body, cut, _ = begun[2].partition("<unfinished ...>")
            entry = (thread, begun[1], [body])
            found.append(entry)
            if cut:
                open_calls[thread] = entry
    made = []
    for thread, name, pieces in found:
        arguments, result = split("".join(pieces))
        made.append(Line(thread, name, arguments, result))
    return made


def split(text: str) -> tuple[list[str], str]:
    """(arguments, what follows them): cut at the commas and the closing parenthesis that no bracket holds."""
    arguments, depth, start, quoted = [], 0, 0, False
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                arguments.append(text[start:at].strip())
                return [a for a in arguments if a], text[at + 1 :].strip()
            depth -= 1
        elif character == "," and depth == 0:
            arguments.append(text[start:at].strip())
            start = at + 1
    arguments.append(text[start:].strip())
    return [a for a in arguments if a], ""


def unquoted(text: str) -> bytes:
    """The bytes of all strings in this text, joined."""
    return b"".join(bytes.fromhex(found[1].replace("\\x", "")) for found in _TEXT.finditer(text))


def number(text: str) -> int:
    """The number at the start of an argument, -1 if there is none."""
    found = re.match(r"-?(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)", text)
    if not found:
        return -1
    digits = found[0].lstrip("-")
    value = int(digits, 16) if digits.startswith("0x") else int(digits, 8) if digits.startswith("0") else int(digits)
    return -value if text.startswith("-") else value


class Interpreter:
    """Turns lines into Operations. wanted: the calls that are kept; streams: link text -> name."""

    def __init__(
        self, *, cwd: str, mask: Callable[[str], str], wanted: frozenset[str], streams: Mapping[str, str], data_max: int
    ) -> None:
        self._start = os.path.realpath(cwd)
        self._mask = mask
        self._wanted = wanted
        self._streams = streams
        self._data_max = data_max
        self._cwds: dict[int, str] = {}
        self._sockets: dict[str, str] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._real: dict[str, str] = {}

    def operations(self, found: Iterable[Line]) -> list[Operation]:
        """All operations of these lines."""
        made: list[Operation] = []
        for line in found:
            call = CALLS.get(line.name)
            if call is None:
                continue
            if line.name in self._wanted and not _is_left_out(line):
                made.append(self._operation(call, line, len(made)))
            self._follow(call, line)
        return made

    def _follow(self, call: Call, line: Line) -> None:
        here = self._cwds.get(line.thread, self._start)
        if call.name in FORKS:
            child = re.match(r"= (\d+)", line.result)
            if child:
                self._cwds[int(child[1])] = here
        elif call.name in ("chdir", "fchdir") and line.result.startswith("= 0"):
            argument = line.arguments[0]
            path = self._descriptor(argument)[1] if call.fd >= 0 else self._join(here, unquoted(argument))
            self._cwds[line.thread] = path

    def _operation(self, call: Call, line: Line, index: int) -> Operation:
        path, path2, kind, descriptor = self._objects(call, line)
        flags = _role(line, call.flags)
        size = _role(line, call.size)
        data = b""
        text = _argument(line, max(call.data, call.vector, call.message))
        if call.vector >= 0 or call.message >= 0:
            size = sum(int(n) for n in re.findall(r"iov_len=(\d+)", text))
        if text and self._data_max:
            data = unquoted(text if call.data >= 0 else "".join(re.findall(r'iov_base=("[^"]*")', text)))
        if call.how >= 0:
            opened = re.search(r"flags=(0x[0-9a-f]+|\d+)", _argument(line, call.how))
            flags = number(opened[1]) if opened else 0
        masked = self._mask(path)
        nth = self._counts[call.name, masked] = self._counts.get((call.name, masked), 0) + 1
        return Operation(
            index=index,
            call=call.name,
            nth=nth,
            path=path,
            path2=path2,
            masked=masked,
            kind=kind_of_entry(call.name, path, flags) if call.path >= 0 else kind,
            process=line.thread,
            thread=line.thread,
            fd=descriptor,
            offset=_role(line, call.offset),
            size=size,
            flags=max(flags, 0),
            data=data[: self._data_max],
        )

    def _objects(self, call: Call, line: Line) -> tuple[str, str, str, int]:
        here = self._cwds.get(line.thread, self._start)
        path, path2, kind, descriptor = "", "", OTHER, -1
        if call.path >= 0:
            path = self._path(line, call.at, call.path, here)
            if call.path2 >= 0:
                path2 = self._path(line, call.at2, call.path2, here)
            elif call.target >= 0:
                path2 = os.fsdecode(unquoted(_argument(line, call.target)))
        if call.fd >= 0:
            descriptor, path, kind = self._descriptor(_argument(line, call.fd))
            if call.source >= 0:
                path2 = self._descriptor(_argument(line, call.source))[1]
        name = _socket(_argument(line, call.address)) if call.address >= 0 else ""
        if name:
            path = name
            if call.name in ("connect", "bind"):
                self._sockets[_link(_argument(line, call.fd))] = name
        return path, path2, kind, descriptor

    def _path(self, line: Line, at: int, place: int, here: str) -> str:
        raw = unquoted(_argument(line, place))
        base = here
        if at >= 0:
            descriptor, path, _ = self._descriptor(_argument(line, at))
            base = path or here
            if not raw and descriptor >= 0:
                return path
        return self._join(base, raw) if raw else ""

    def _join(self, base: str, raw: bytes) -> str:
        text = os.fsdecode(raw)
        text = os.path.normpath(text if text.startswith("/") else f"{base.rstrip('/')}/{text}")
        head, _, tail = text.rpartition("/")
        if head not in self._real:
            self._real[head] = os.path.realpath(head) if head and os.path.isdir(head) else head
        return f"{self._real[head].rstrip('/')}/{tail}"

    def _descriptor(self, text: str) -> tuple[int, str, str]:
        """(number, path, kind) of an argument like `3<path>`."""
        found = _DESCRIPTOR.match(text)
        if not found:
            return -1, "", OTHER
        descriptor = int(found[1])
        link = _link(text)
        if link in self._streams:
            return descriptor, self._streams[link], SOCKET if link.startswith("socket:") else PIPE
        if link.startswith("/"):
            if found[3]:
                return descriptor, link + " (deleted)", FILE
            kind = kind_of_path(link)
            if kind == OTHER and link.startswith("/dev/tty"):
                kind = TTY
            return descriptor, link, DIRECTORY if kind == FILE and os.path.isdir(link) else kind
        if link.startswith("socket:"):
            return descriptor, self._sockets.get(link, "socket:"), SOCKET
        return descriptor, "pipe:" if link.startswith("pipe:") else link, PIPE if link.startswith("pipe:") else OTHER


def _is_left_out(line: Line) -> bool:
    """What the gate's filter lets pass by its arguments."""
    if line.name == "fcntl":
        return number(line.arguments[1]) not in LOCK_COMMANDS if len(line.arguments) > 1 else True
    if line.name == "mmap" and len(line.arguments) > 3:
        writable, flags = number(line.arguments[2]) & _WRITABLE, number(line.arguments[3])
        return not (writable and flags & _SHARED and not flags & _ANONYMOUS)
    return False


def _argument(line: Line, place: int) -> str:
    # The tables count the places in a notification, which has six fields before the arguments.
    place -= 6
    return line.arguments[place] if 0 <= place < len(line.arguments) else ""


def _role(line: Line, place: int) -> int:
    return number(_argument(line, place)) if place >= 0 else -1


def _link(text: str) -> str:
    found = _DESCRIPTOR.match(text)
    return os.fsdecode(bytes.fromhex((found[2] or "").replace("\\x", ""))) if found else ""


def _socket(text: str) -> str:
    """The name of a sockaddr as strace shows it."""
    family = re.search(r"sa_family=(0x[0-9a-f]+|\d+)", text)
    if not family:
        return ""
    which = number(family[1])
    raw = which.to_bytes(2, "little")
    fields = {name: unquoted(value) for name, value in re.findall(r'(\w+)=(@?"[^"]*")', text)}
    if which == 1:
        is_abstract = 'sun_path=@"' in text
        return socket_name(raw + (b"\0" if is_abstract else b"") + fields.get("sun_path", b""))
    if which == 2:
        return socket_name(raw + fields.get("sin_port", b"") + fields.get("sin_addr", b""))
    if which == 10:
        return socket_name(raw + fields.get("sin6_port", b"") + bytes(4) + fields.get("sin6_addr", b""))
    return socket_name(raw)
