"""A frame of a stack: `path:function:line` as it was read, `function (path:line)` as people read it.

A function's name may hold colons (C++), a path rarely does; line 0 is not known. Of a path in a library only the part
below its root says anything.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FRAME = re.compile(r"(?P<file>[^:]+):(?P<function>.*?)(?::(?P<line>[0-9]+))?")
_LIBRARY = re.compile(r".*/(?:(?:site|dist)-packages|lib/python3(?:\.[0-9]+)?)/")
_SHARED = re.compile(r"\.so[.:]")
_NAME_MAX = 60
_LENGTH = re.compile(r"[0-9]{1,4}")


class Frame(NamedTuple):
    """line: from 1; 0 where it is not known."""

    file: str
    function: str
    line: int


def read_frame(text: str) -> Frame | None:
    """What a frame says; None for what has another form."""
    match = _FRAME.fullmatch(text)
    return Frame(match["file"], match["function"], int(match["line"] or 0)) if match else None


def shown_frame(text: str) -> str:
    """`add (notes.py:14)`: short enough for a line; what has another form as it is."""
    found = read_frame(text)
    if found is None:
        return text
    name = shown_name(found.function)
    name = name if len(name) <= _NAME_MAX else name[: _NAME_MAX - 1] + "…"
    place = _LIBRARY.sub("", found.file)
    return f"{name or '?'} ({place}:{found.line})" if found.line else f"{name or '?'} ({place})"


def shown_place(site: tuple[str, ...]) -> str:
    """` at add (notes.py:14)` of the innermost frame, ` near …` where that is a guess; `` if none is known.

    Of a native program's frames that were only guessed (line 0) those in shared libraries name what lay on the stack.
    """
    is_guess = all(frame.endswith(":0") for frame in site)
    known = [frame for frame in site if not (is_guess and _SHARED.search(frame))]
    return f" {'near' if is_guess else 'at'} {shown_frame(known[0])}" if known else ""


def shown_name(name: str) -> str:
    """`File::close` for `_ZN4File5closeEv`: the plain names of C++, without arguments; others as they are.

    Names with template arguments, substitutions or operators in them are left alone, as are those of other languages.
    """
    mangled = name.removeprefix("_ZN")
    if mangled == name:
        return name
    mangled = mangled.removeprefix("K")  # of a method that changes nothing
    mangled = mangled.removeprefix("St")
    parts = ["std"] if name.startswith(("_ZNSt", "_ZNKSt")) else []
    while length := _LENGTH.match(mangled):
        end = length.end() + int(length[0])
        parts.append(mangled[length.end() : end])
        mangled = mangled[end:]
    if mangled[:3] in ("C1E", "C2E", "D0E", "D1E", "D2E") and parts:  # constructors and destructors
        parts.append(("~" if mangled[0] == "D" else "") + parts[-1])
        mangled = mangled[2:]
    return "::".join(parts) if mangled.startswith("E") and parts and all(parts) else name
