"""A module's code with calls at its failpoints, and the same module's code without them.

Both are compiled from one source text, so they differ in the calls alone and correspond code object by code object. A
call is first written as a call of a marked text constant; then the constant is replaced by the hook itself. So no
name is added to the module and none can collide, and the line of the call is that of the comment.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from blackstart.inprocess.errors import NotArmable
from blackstart.inprocess.placing import Owner, Place, place
from blackstart.inprocess.sites import Site

_MARK = "\0failpoint "
# What else changes a module's tree before it is compiled, such as a test runner that rewrites assertions.
Rewrite = Callable[[ast.Module], None]


@dataclass
class Hooks:
    """What is called at one failpoint.

    reach: counts the hit and acts; asynchronous where awaited. answers: whether a rule may make the function return;
    then reach gives True if it does, and value gives what.
    """

    reach: Callable[[], Any]
    value: Callable[[], Any]
    answers: bool = False


@dataclass
class Woven:
    """All code objects of the module, outermost first; owners: failpoint -> index of the one with its call."""

    codes: list[CodeType]
    owners: dict[str, int]


def is_awaited(owner: Owner) -> bool:
    """Whether a call in the body of this owner may be awaited."""
    return isinstance(owner, ast.AsyncFunctionDef)


def plain(source: str, path: str, rewrite: Rewrite | None = None) -> list[CodeType]:
    """The module's code objects as they are without any failpoint armed."""
    tree = ast.parse(source)
    if rewrite:
        rewrite(tree)
    return every(_compiled(tree, path))


def weave(
    source: str,
    path: str,
    sites: list[Site],
    hooks: Callable[[Site, Place], Hooks],
    rewrite: Rewrite | None = None,
) -> Woven:
    """The module's code objects with a call at each of these sites; `hooks` makes what is called there."""
    tree = ast.parse(source)
    lines = source.split("\n")  # as the parser counts them: a form feed ends none
    places = [(site, place(tree, site, lines)) for site in sites]
    bound: dict[str, Callable[[], Any]] = {}
    # From the last line to the first, so that an index found before stays right.
    for site, found in sorted(places, key=lambda pair: (pair[0].line, pair[0].column), reverse=True):
        made = hooks(site, found)
        if made.answers:
            _check_answer(site, found)
        bound[f"{_MARK}{site.name}"], bound[f"{_MARK}value {site.name}"] = made.reach, made.value
        found.block[found.index : found.index] = [_statement(site, found.owner, made.answers)]
    if rewrite:
        rewrite(tree)
    owners: dict[str, int] = {}
    marked = every(_compiled(tree, path))
    for index, code in enumerate(marked):
        for constant in code.co_consts:
            if isinstance(constant, str) and constant in bound:
                owners.setdefault(constant.removeprefix(_MARK), index)
    return Woven(every(_bind(marked[0], bound)), owners)


def every(code: CodeType) -> list[CodeType]:
    """This code object and all below it, outermost first."""
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found += every(constant)
    return found


def enclosing(code: CodeType, at: int = 0, outer: int = -1) -> list[int]:
    """For each of `every(code)` the index of the one that it stands in; -1 for the outermost."""
    found = [outer]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found += enclosing(constant, at + len(found), at)
    return found


def _statement(site: Site, owner: Owner, answers: bool) -> ast.stmt:
    reach: ast.expr = ast.Call(ast.Constant(_MARK + site.name), [], [])
    if is_awaited(owner):
        reach = ast.Await(reach)
    statement: ast.stmt = ast.Expr(reach)
    if answers:
        value = ast.Call(ast.Constant(f"{_MARK}value {site.name}"), [], [])
        statement = ast.If(reach, [ast.Return(value)], [])
    for node in ast.walk(statement):
        if isinstance(node, ast.expr | ast.stmt):
            node.lineno = node.end_lineno = site.line
            node.col_offset = node.end_col_offset = site.column
    return statement


def _check_answer(site: Site, found: Place) -> None:
    owner = found.owner
    if isinstance(owner, ast.ClassDef | None):
        raise NotArmable(f"failpoint {site.name!r} is in no function, so nothing can return there", where=str(site))
    if isinstance(owner, ast.AsyncFunctionDef) and _yields(owner):
        raise NotArmable(f"failpoint {site.name!r}: an async generator returns no value", where=str(site))
    if found.in_class and owner.name == "__init__":
        raise NotArmable(f"failpoint {site.name!r}: __init__ returns no value", where=str(site), next_step="use raise")


def _yields(owner: ast.AsyncFunctionDef) -> bool:
    inner = list(owner.body)
    while inner:
        node: ast.AST = inner.pop()
        if isinstance(node, ast.Yield):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            inner += list(ast.iter_child_nodes(node))  # type: ignore[arg-type]
    return False


def _compiled(tree: ast.Module, path: str) -> CodeType:
    with warnings.catch_warnings():
        # The module's own warnings were given when it was imported; ours is about a text that is called.
        warnings.simplefilter("ignore")
        code = compile(tree, path, "exec", dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def _bind(code: CodeType, bound: Mapping[str, Callable[[], Any]]) -> CodeType:
    constants = tuple(
        _bind(constant, bound)
        if isinstance(constant, CodeType)
        else bound.get(constant, constant)
        if isinstance(constant, str)
        else constant
        for constant in code.co_consts
    )
    if all(new is old for new, old in zip(constants, code.co_consts, strict=True)):
        return code
    return code.replace(co_consts=constants)
