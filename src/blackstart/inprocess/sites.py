"""Failpoints as they stand in source: `# failpoint: cas-put-before-write`.

Found by the tokenizer, never by a pattern over lines: a string may contain the same text. Reading is all that happens
here; nothing is imported.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

MARK = b"failpoint:"
_COMMENT = re.compile(r"#\s*failpoint:\s*(.*?)\s*$")
_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]*")
_LAYOUT = frozenset({tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER})


class Site(msgspec.Struct, frozen=True):
    """One failpoint: its name and where its comment stands.

    line from 1, column from 0; trailing: code stands before it on the same line; fault: what is wrong with the name.
    """

    name: str
    path: str
    line: int
    column: int = 0
    trailing: bool = False
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def sites_in(source: str, path: str) -> list[Site]:
    """The failpoints of one source text, in its order; none if it cannot be tokenized."""
    found: list[Site] = []
    with_code: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            line, column = token.start
            if token.type == tokenize.COMMENT:
                comment = _COMMENT.match(token.string)
                if comment:
                    fault = "" if _NAME.fullmatch(comment[1]) else "a name has a-z, 0-9, '.', '_', '/' and '-'"
                    found.append(Site(comment[1], path, line, column, line in with_code, fault))
            elif token.type not in _LAYOUT:
                with_code.update(range(line, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        return []
    return found


def read_source(path: Path) -> str:
    """The text of a source file in its own encoding; `""` if it has none that can be read."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def bytes_of(path: Path) -> bytes | None:
    """What stands in a file; None if it cannot be read: a link to nowhere, a file of somebody else."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def fault_of(path: Path) -> str:
    """Why the failpoints of a source file cannot be read; `""` if they can."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
    except OSError as error:
        return error.strerror or str(error)
    except (SyntaxError, UnicodeDecodeError):
        return "its bytes are no text in the encoding that it declares (UTF-8 if none)"
    return fault_in(source)


def fault_in(source: str) -> str:
    """Where and why a source text is no Python; `""` if it is."""
    try:
        ast.parse(source)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""


def sites_below(roots: Iterable[Path]) -> Iterator[Site]:
    """The failpoints of these files, and of all Python files below these directories."""
    for root in roots:
        for path in files_below(root):
            if MARK in (bytes_of(path) or b""):
                yield from sites_in(read_source(path), str(path))


def files_below(root: Path) -> Iterator[Path]:
    """This file, or all Python files below this directory that are not hidden there."""
    for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and path.is_file():
            yield path


def places_of(sites: Iterable[Site]) -> dict[str, list[Site]]:
    """Name -> the places where it stands; more than one is a mistake."""
    places: dict[str, list[Site]] = {}
    for site in sites:
        places.setdefault(site.name, []).append(site)
    return places
