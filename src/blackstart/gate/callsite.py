"""Which line of the target makes a call.

Frames are text, `file:function:line`, innermost first, with the file masked like any path. For programs that CPython
runs they are read from memory at no risk; `context_of` then takes the innermost one that is not the interpreter's own
library, so that `json.dump` in two places of a program is two places. For native programs the frames are a guess, with
line 0, which groups calls but does not decide whether one is the planned one (see native.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from blackstart.gate.cpython import LAYOUTS, Interpreter
from blackstart.gate.elf import Symbols, symbols
from blackstart.gate.native import Scanner
from blackstart.gate.tasks import Process, Thread

# The interpreter's own library, but not what is installed for it.
_INSTALLATION = re.compile(r"<frozen |.*/lib(64)?/python3[^/]*/(?!(site|dist)-packages/)|/usr/lib/python3[^/]*\.zip/")
_RUNTIME, _VERSION = b"_PyRuntime", b"Py_Version"
_MAPS_MAX = 1 << 20


def is_installation(file: str) -> bool:
    """Whether this source file belongs to the interpreter's installation."""
    return _INSTALLATION.match(file) is not None


class Sites:
    """Call sites of the target's threads. What was learnt of a process is kept with it and dies with it."""

    def __init__(self, mask: Callable[[str], str] = str) -> None:
        self._mask = mask
        self._scanner = Scanner(mask)
        self._symbols: dict[tuple[int, int, int], Symbols] = {}
        self._texts: dict[tuple[str, str, int], str] = {}

    def frames(self, thread: Thread) -> tuple[str, ...]:
        """Frames `file:function:line` of an interpreted program, innermost first; () if unknown."""
        process = thread.process
        interpreter = process.interpreter
        if interpreter is None:
            if not process.is_worth_a_look():
                return ()
            interpreter = self._find(process)
            if interpreter is None:
                return ()
            process.interpreter = interpreter
        assert isinstance(interpreter, Interpreter)
        texts = self._texts
        return tuple([texts.get(frame) or self._text(frame) for frame in interpreter.frames(thread.inner_tid)])

    def label(self, thread: Thread, call: str, path: str) -> tuple[str, ...]:
        """Frames of an interpreted program, else the guess for a native one."""
        return self.frames(thread) or self._scanner.site(thread, call, path)

    def forget(self, process: Process) -> None:
        """The process becomes another program."""
        self._scanner.forget(process.pid)

    def _text(self, frame: tuple[str, str, int]) -> str:
        if len(self._texts) > 65536:
            self._texts.clear()
        file, function, line = frame
        if file.startswith("/") and "/." in file:
            file = os.path.normpath(file)
        text = self._texts[frame] = f"{self._mask(file)}:{function}:{line}"
        return text

    def _find(self, process: Process) -> Interpreter | None:
        """The interpreter that this process runs, if it is one whose memory can be read."""
        for path, base in _candidates(process.task):
            found = self._symbols_of(f"/proc/{process.task}/root{path}")
            if found.addresses.keys() >= {_RUNTIME, _VERSION}:
                if found.is_fixed:
                    base = 0
                version = process.read(base + found.addresses[_VERSION], 8)
                layout = LAYOUTS.get((version[3], version[2])) if len(version) == 8 else None
                return Interpreter(process, base + found.addresses[_RUNTIME], layout) if layout else None
        return None

    def _symbols_of(self, path: str) -> Symbols:
        try:
            status = os.stat(path)
        except OSError:
            return Symbols({}, False)
        key = status.st_dev, status.st_ino, status.st_mtime_ns
        if key not in self._symbols:
            self._symbols[key] = symbols(path, (_RUNTIME, _VERSION))
        return self._symbols[key]


def _candidates(tid: int) -> list[tuple[str, int]]:
    """(path, load address) of the program and of shared interpreters that are mapped."""
    try:
        program = os.readlink(f"/proc/{tid}/exe")
        with open(f"/proc/{tid}/maps", "rb") as lines:
            text = lines.read(_MAPS_MAX)
    except OSError:
        return []
    found: dict[str, int] = {}
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6:
            continue
        path = os.fsdecode(fields[5])
        if path == program or "/libpython" in path:
            try:
                base = int(fields[0].split(b"-")[0], 16) - int(fields[2], 16)
            except ValueError:
                continue
            found[path] = min(base, found.get(path, base))
    return list(found.items())
