"""The frames of a CPython thread, read from its memory while it waits in the gate.

No code runs in the target. Where things are in memory depends on the version, so each has its table (made by offsetof
from that version's headers, tested against its own traceback); other versions give no frames. The interpreter is
stopped at a call into the system, so its frames are complete; all the same every read is bounded and checked, because
the target may be anything that calls itself an interpreter.
"""

from __future__ import annotations

import struct

import msgspec

from blackstart.gate.tasks import Process

DEPTH_MAX = 24
_CHAIN_MAX = 2000
_TEXT_MAX = 4096
_LINES_MAX = 1 << 20
_WINDOW = 2048
_OWNED_BY_C = 3
_word = struct.Struct("<Q").unpack_from


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets in bytes. has_cframe: the thread state leads to its frame through one more pointer."""

    interpreters: int = 40
    interpreter_next: int = 0
    threads: int
    thread_next: int = 8
    thread_id: int
    frame: int
    cframe: int = -1
    code: int
    previous: int
    instruction: int = 56
    owner: int
    first_line: int
    file: int = 112
    qualified_name: int = 128
    line_table: int = 136
    instructions: int
    ascii_text: int
    other_text: int


LAYOUTS = {
    (3, 11): Layout(
        threads=16, thread_id=160, frame=56, cframe=8, code=32, previous=48, owner=69, first_line=72,
        instructions=184, ascii_text=48, other_text=72,
    ),
    (3, 12): Layout(
        threads=72, thread_id=144, frame=56, cframe=0, code=0, previous=8, owner=70, first_line=68,
        instructions=192, ascii_text=40, other_text=56,
    ),
    (3, 13): Layout(
        interpreters=632, interpreter_next=7264, threads=7344, thread_id=160, frame=72, code=0, previous=8, owner=70,
        first_line=68, instructions=200, ascii_text=40, other_text=56,
    ),
}  # fmt: skip


class Interpreter:
    """One process that runs CPython: `runtime` is the address of its _PyRuntime."""

    def __init__(self, process: Process, runtime: int, layout: Layout) -> None:
        self._process = process
        self._runtime = runtime
        self._layout = layout
        self._states: dict[int, int] = {}
        self._codes: dict[int, tuple[str, str, int, bytes]] = {}
        self._frames: dict[tuple[int, int], tuple[str, str, int]] = {}

    def frames(self, inner_tid: int) -> list[tuple[str, str, int]]:
        """(file, function, line) of this thread's frames, innermost first; [] if they cannot be read."""
        layout = self._layout
        try:
            frame = self._innermost(inner_tid)
            found: list[tuple[str, str, int]] = []
            window, base = b"", 0
            for _ in range(_CHAIN_MAX):
                if not frame or len(found) >= DEPTH_MAX:
                    break
                if not base <= frame <= base + len(window) - 80:
                    # Frames lie one behind the other: the callers of this one are most probably just before it.
                    base = max(frame + 80 - _WINDOW, frame & ~0xFFF)
                    window = self._process.read(base, frame + 80 - base)
                    if len(window) < 80:
                        break
                at = frame - base
                code, instruction = _word(window, at + layout.code)[0], _word(window, at + layout.instruction)[0]
                if window[at + layout.owner] != _OWNED_BY_C:
                    found.append(self._frames.get((code, instruction)) or self._frame(code, instruction))
                frame = _word(window, at + layout.previous)[0]
            return found
        except (struct.error, IndexError, UnicodeDecodeError):
            return []

    def _innermost(self, inner_tid: int) -> int:
        """The address of the thread's innermost frame, 0 if there is none."""
        layout = self._layout
        state = self._states.get(inner_tid, 0)
        raw = self._process.read(state, 176) if state else b""
        if len(raw) < 176 or _word(raw, layout.thread_id)[0] != inner_tid:
            state, raw = self._find_state(inner_tid)
            if not state:
                return 0
            self._states[inner_tid] = state
        frame = int(_word(raw, layout.frame)[0])
        return self._pointer(frame + layout.cframe) if layout.cframe >= 0 else frame

    def _find_state(self, inner_tid: int) -> tuple[int, bytes]:
        layout = self._layout
        interpreter = self._pointer(self._runtime + layout.interpreters)
        for _ in range(16):
            if not interpreter:
                break
            state = self._pointer(interpreter + layout.threads)
            for _ in range(_CHAIN_MAX):
                raw = self._process.read(state, 176) if state else b""
                if len(raw) < 176:
                    break
                if _word(raw, layout.thread_id)[0] == inner_tid:
                    return state, raw
                state = _word(raw, layout.thread_next)[0]
            interpreter = self._pointer(interpreter + layout.interpreter_next)
        return 0, b""

    def _frame(self, code: int, instruction: int) -> tuple[str, str, int]:
        known = self._codes.get(code)
        if known is None:
            if len(self._codes) > 65536:
                self._codes.clear()
            known = self._codes[code] = self._code(code)
        file, function, first_line, table = known
        line = line_of(table, first_line, (instruction - code - self._layout.instructions) // 2)
        if len(self._frames) > 65536:
            self._frames.clear()
        found = self._frames[code, instruction] = file, function, line
        return found

    def _code(self, address: int) -> tuple[str, str, int, bytes]:
        layout = self._layout
        raw = self._process.read(address, 144)
        first_line = struct.unpack_from("<i", raw, layout.first_line)[0]
        table = _word(raw, layout.line_table)[0]
        size = min(self._pointer(table + 16), _LINES_MAX)
        return (
            self._text(_word(raw, layout.file)[0]),
            self._text(_word(raw, layout.qualified_name)[0]),
            first_line,
            self._process.read(table + 32, size),
        )

    def _text(self, address: int) -> str:
        """A str object; the rest of one that is too long is left out."""
        raw = self._process.read(address, 80)
        length, state = min(_word(raw, 16)[0], _TEXT_MAX), raw[32]
        width, is_ascii = state >> 2 & 7, state >> 6 & 1
        start = self._layout.ascii_text if is_ascii else self._layout.other_text
        text = self._process.read(address + start, length * width)
        encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}.get(width)
        if encoding is None:
            raise IndexError("no text")
        return text.decode(encoding, "surrogatepass")

    def _pointer(self, address: int) -> int:
        return int(_word(self._process.read(address, 8))[0])


def line_of(table: bytes, first_line: int, instruction: int) -> int:
    """The line of an instruction, by the location table of Python 3.11 and later; the first line if it has none."""
    at, line, start = 0, first_line, 0
    while at < len(table):
        code, length = table[at] >> 3 & 15, (table[at] & 7) + 1
        at += 1
        if code >= 13 and code != 15:
            step, at = _signed(table, at)
            line += step
            if code == 14:
                for _ in range(3):
                    _, at = _unsigned(table, at)
        elif 10 <= code <= 12:
            line += code - 10
            at += 2
        elif code < 10:
            at += 1
        if start <= instruction < start + length:
            return first_line if code == 15 else line
        start += length
    return line


def _unsigned(table: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = table[at]
        at += 1
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64 or shift > 60:
            return value, at


def _signed(table: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(table, at)
    return (-(value >> 1) if value & 1 else value >> 1), at
