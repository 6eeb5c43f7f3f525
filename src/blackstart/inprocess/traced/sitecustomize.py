"""Run by a target's interpreter when it starts: notes which of its `except` and `finally` blocks are entered.

It needs nothing but the standard library, as the target's interpreter need not have this project. What it notes goes to
a file that is mapped and has its room already: a full disk, which is what many of these blocks are for, cannot stop it,
and a kill does not lose it. Whatever goes wrong here is no business of the target's.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import mmap
import os
import sys
import threading
from types import FrameType
from typing import Any

_ROOTS = tuple(filter(None, os.environ.get("BLACKSTART_TRACED", "").split(os.pathsep)))
_PLACE, _ROOM_BYTES = "/tmp/.blackstart-handlers", 1 << 18
_known: dict[str, dict[int, tuple[int, str]]] = {}
_books: list[_Book] = []


class _Book:
    """One file for each process: lines, one after the other."""

    def __init__(self) -> None:
        os.makedirs(_PLACE, mode=0o777, exist_ok=True)
        name = f"{_PLACE}/{os.getpid()}-{threading.get_native_id()}-{os.urandom(4).hex()}"
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, _ROOM_BYTES)
            self._memory = mmap.mmap(descriptor, _ROOM_BYTES)
        finally:
            os.close(descriptor)
        self._at = 0

    def note(self, *words: object) -> None:
        line = ("\t".join(map(str, words)) + "\n").encode("utf-8", "surrogateescape")
        if self._at + len(line) < _ROOM_BYTES:
            self._memory[self._at : self._at + len(line)] = line
            self._at += len(line)


def _blocks(path: str) -> dict[int, tuple[int, str]]:
    """First line of each block -> (line that people look for, what it is)."""
    with open(path, "rb") as file:
        tree = ast.parse(file.read())
    found: dict[int, tuple[int, str]] = {}
    for node in ast.walk(tree):
        for handler in getattr(node, "handlers", ()):
            if handler.body[0].lineno != handler.lineno:  # on one line, asking looks like entering
                caught = f" {ast.unparse(handler.type)}" if handler.type else ""
                found[handler.body[0].lineno] = (handler.lineno, f"except{caught}")
        if isinstance(node, ast.Try) and node.finalbody:
            line = node.finalbody[0].lineno
            found[line] = (line, "finally")
    return found


def _learn(path: str) -> dict[int, tuple[int, str]]:
    """The blocks of a file that are not entered yet; nothing of what is not the target's own."""
    others = path == __file__ or "/site-packages/" in path or "/dist-packages/" in path
    own = path.startswith(_ROOTS) and not others
    _known[path] = {}
    if own:
        try:
            _known[path] = _blocks(path)
            for line, what in _known[path].values():
                _books[0].note("has", path, line, what)
        except Exception:
            pass
    return _known[path]


def _trace(frame: FrameType, event: str, _: Any) -> Any:
    path = frame.f_code.co_filename
    blocks = _known.get(path)
    if blocks is None:
        blocks = _learn(path)
    return _line if blocks else None


def _line(frame: FrameType, event: str, _: Any) -> Any:
    if event == "line":
        path = frame.f_code.co_filename
        block = _known[path].pop(frame.f_lineno, None)
        if block is not None:
            _books[0].note("ran", path, block[0])
    return _line


def _start() -> None:
    _books[:] = [_Book()]
    sys.settrace(_trace)
    threading.settrace(_trace)


def _next() -> None:
    """The site's own file of this name, which ours hides."""
    here = os.path.dirname(__file__)
    ours = sys.modules.pop("sitecustomize")
    sys.path[:] = [entry for entry in sys.path if entry != here]
    if importlib.util.find_spec("sitecustomize"):
        importlib.import_module("sitecustomize")
    else:
        sys.modules["sitecustomize"] = ours


if _ROOTS and "sitecustomize" in sys.modules:
    try:
        _next()
        _start()
        os.register_at_fork(after_in_child=_start)
    except Exception:
        pass
