"""Where in a syntax tree a failpoint's comment stands.

A comment alone on its line fires between its neighbours; its column picks the block, as for any statement. A comment
behind code fires before the statement that begins there. Whatever is neither is refused: a failpoint that fires
somewhere else than where one reads it would be worse than none.
"""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blackstart.inprocess.errors import NotArmable
from blackstart.inprocess.sites import Site

Owner = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None


@dataclass
class Place:
    """A gap in a block of statements: `block.insert(index, ...)`; owner is the function or class whose body runs it."""

    block: list[ast.stmt]
    index: int
    owner: Owner
    in_class: bool


@dataclass
class _Part:
    """One block of a statement: after which line it begins, and up to which line its comments may stand."""

    block: list[ast.stmt]
    after: int
    until: int


def place(tree: ast.Module, site: Site, lines: Sequence[str]) -> Place:
    """Where `site` fires in the source of these lines; NotArmable if no statement can stand there."""
    finder = _Finder(site, lines)
    found = finder.behind(tree.body) if site.trailing else finder.alone(tree.body)
    if found is None and _is_in_lambda(tree, site.line):
        raise NotArmable(
            f"failpoint {site.name!r} stands in a lambda, which has no statements",
            where=str(site),
            next_step="make it a function with def, or break its calls by their dotted path (armed_call)",
        )
    if found is None:
        raise NotArmable(f"failpoint {site.name!r} fits no block of statements", where=str(site), next_step=_ADVICE)
    _behind_docstring(found)
    return found


_ADVICE = "put the comment on a line of its own, between two statements and indented as they are"


def _is_in_lambda(tree: ast.Module, line: int) -> bool:
    lambdas = (node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
    return any(one.lineno <= line <= (one.end_lineno or 0) for one in lambdas)


def _behind_docstring(found: Place) -> None:
    def must_be_first(statement: ast.stmt) -> bool:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        return is_text or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")

    while found.index < len(found.block) and must_be_first(found.block[found.index]):
        found.index += 1


class _Finder:
    def __init__(self, site: Site, lines: Sequence[str]) -> None:
        self.site = site
        self.lines = lines

    def alone(self, body: list[ast.stmt]) -> Place | None:
        """The gap in the block that has the comment's column and reaches over its line."""
        part: _Part | None = _Part(body, 0, len(self.lines) + 1)
        owner: Owner = None
        in_class = False
        found: Place | None = None
        while part is not None:
            block = part.block
            is_one_line = block[0].lineno == part.after
            if block[0].col_offset == self.site.column and not is_one_line:
                found = self._gap(block, owner, in_class)
            part, owner, in_class = self._below(part, owner, in_class)
        return found

    def behind(self, body: list[ast.stmt]) -> Place | None:
        """The gap before the statement that the comment stands behind."""
        part: _Part | None = _Part(body, 0, len(self.lines) + 1)
        owner: Owner = None
        in_class = False
        line = self.site.line
        found: Place | None = None
        while part is not None:
            index = bisect_left(part.block, line, key=_last_line)
            if index < len(part.block) and _first_line(statement := part.block[index]) <= line:
                inner = list(_blocks(statement))
                in_header = not inner or line < inner[0][0].lineno or line == statement.lineno
                is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                found = Place(part.block, index, owner, in_class) if in_header and not is_definition else None
            part, owner, in_class = self._below(part, owner, in_class)
        return found

    def _gap(self, block: list[ast.stmt], owner: Owner, in_class: bool) -> Place | None:
        line = self.site.line
        index = bisect_right(block, line, key=_first_line)
        if index and (block[index - 1].end_lineno or 0) >= line:
            return None
        return Place(block, index, owner, in_class)

    def _below(self, part: _Part, owner: Owner, in_class: bool) -> tuple[_Part | None, Owner, bool]:
        """The block of a statement of this one that reaches over the comment's line, if any."""
        # The last that begins before the line; what follows it begins behind.
        index = bisect_right(part.block, self.site.line, key=_first_line) - 1
        if index < 0:
            return None, owner, in_class
        statement, follows = part.block[index], part.block[index + 1 : index + 2]
        for inner in self._parts(statement, _first_line(follows[0]) - 1 if follows else part.until):
            if inner.after <= self.site.line <= inner.until:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    return inner, statement, isinstance(owner, ast.ClassDef)
                return inner, owner, in_class
        return None, owner, in_class

    def _parts(self, statement: ast.stmt, until: int) -> list[_Part]:
        """The blocks of a statement with the lines that belong to each."""
        blocks = list(_blocks(statement))
        parts: list[_Part] = []
        for number, block in enumerate(blocks):
            before = statement.lineno if not number else (blocks[number - 1][-1].end_lineno or 0)
            after = statement.lineno if not number else self._keyword_line(before, block[0].lineno)
            if parts:
                parts[-1].until = after - 1
            parts.append(_Part(block, after, until))
        return parts

    def _keyword_line(self, before: int, first: int) -> int:
        """The line of `else:`, `except ...:`, `finally:` or `case ...:` between two blocks of a statement."""
        for line in range(before + 1, first + 1):
            words = self.lines[line - 1].replace(":", " ").split()
            if words and words[0] in ("else", "elif", "except", "except*", "finally", "case"):
                return line
        return first


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(one.lineno for one in decorators)])


def _last_line(statement: ast.stmt) -> int:
    return statement.end_lineno or 0


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a statement, in the order of the source."""
    if isinstance(node, ast.Match):
        yield from (case.body for case in node.cases)
        return
    if isinstance(body := getattr(node, "body", None), list):
        yield body
    yield from (handler.body for handler in getattr(node, "handlers", []))
    for field in ("orelse", "finalbody"):
        if block := getattr(node, field, None):
            yield block
