"""`blackstart failpoints`: the failpoints of a source tree, read and never imported; and whether tests name others."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from blackstart.cli.ending import finish

# What a test arms failpoints with. `arm` is a method of the fixture only: alone the word may be anybody's.
_ARMING = frozenset({"arm", "armed", "sweep", "storm", "in_children"})
# What stands in a file that has a failpoint.
_PLACES = frozenset({"failpoint:", "failpoint("})


def add(app: typer.Typer) -> None:
    """Register the command."""

    @app.command(short_help="List the failpoints of a source tree; check names in tests.")
    def failpoints(
        paths: Annotated[
            list[str] | None, typer.Argument(metavar="[PATH]...", help="Files, directories; else .")
        ] = None,
        check: Annotated[
            list[str] | None,
            typer.Option("--check", metavar="PATH", help="Tests: fail if they arm a name that is nowhere; repeatable."),
        ] = None,
    ) -> None:
        """List the failpoints of a source tree, or check that the names in its tests exist."""
        finish(lambda: run(paths or ["."], check or []))


def run(paths: list[str], tests: list[str]) -> int:
    """Print; 0, or 1 where a name is wrong, stands twice, or is armed and nowhere, or a file cannot be read."""
    from blackstart.inprocess import places_of, sites_below

    roots = [*map(_existing, paths)]
    places = places_of(sites_below(roots))
    called = [found for root in roots for found in _named_in(root, _is_place)]
    lines = [(name, where, "") for name, where in called]
    wrong = 0
    for name, sites in places.items():
        remark = sites[0].fault or ("the name stands in more than one place" if len(sites) > 1 else "")
        wrong += bool(remark)
        lines += [(name, str(site), f"  ({remark})" if remark else "") for site in sites]
    for name, where, remark in sorted(lines):
        typer.echo(f"{name}  {where}{remark}")
    for path, fault in [*_unreadable(roots, _PLACES), *_unreadable(map(_existing, tests), _ARMING)]:
        wrong += 1
        typer.echo(f"{path}: cannot be read: {fault}")
    there = {*places, *(name for name, _ in called)}
    for test in tests:
        for name, where in armed_in(_existing(test)):
            if name not in there:
                wrong += 1
                typer.echo(f"{where}: no failpoint {name!r}{_near(name, sorted(there))}")
    return 1 if wrong else 0


def armed_in(root: Path) -> list[tuple[str, str]]:
    """The names that test files below `root` arm, each with its place: first arguments of what is in `_ARMING`."""
    return _named_in(root, _arms)


def _named_in(root: Path, names: Callable[[ast.expr], bool]) -> list[tuple[str, str]]:
    """The texts in first arguments of the calls below `root` whose function names something, each with its place."""
    from blackstart.inprocess.sites import bytes_of, files_below

    found = []
    for path in files_below(root):
        try:
            data = bytes_of(path) or b""
            tree = ast.parse(data, str(path)) if names is not _is_place or b"failpoint(" in data else ast.Module([], [])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # `_unreadable` tells of it
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and names(node.func):
                for name in _listed(node.args[0]):
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        found.append((name.value, f"{path}:{name.lineno}"))
    return found


def _unreadable(roots: Iterable[Path], words: Iterable[str]) -> list[tuple[Path, str]]:
    """The files in which one of these words stands, or may stand, but nobody can read how; each with the reason."""
    from blackstart.inprocess.sites import bytes_of, fault_of, files_below

    wanted = re.compile(b"|".join(rb"\b" + re.escape(word.encode()) for word in words))
    paths = (path for root in roots for path in files_below(root))
    files = [path for path in paths if (data := bytes_of(path)) is None or wanted.search(data)]
    return [(path, fault) for path in files if (fault := fault_of(path))]


def _is_place(function: ast.expr) -> bool:
    """Whether a call of this is a failpoint without a comment: `failpoint("name")`."""
    return getattr(function, "attr", getattr(function, "id", "")) == "failpoint"


def _arms(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _ARMING
    return isinstance(function, ast.Name) and function.id in _ARMING - {"arm"}


def _listed(argument: ast.expr) -> list[ast.expr]:
    """One name, a list of them, or a mapping of them to rules."""
    if isinstance(argument, ast.Dict):
        return [key for key in argument.keys if key is not None]
    return argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]


def _near(name: str, names: list[str]) -> str:
    from blackstart.core.verbs import near

    return near(name, names)


def _existing(path: str) -> Path:
    from blackstart.core.errors import BlackstartError

    if not Path(path).exists():
        raise BlackstartError(f"{path} does not exist", next_step="name a file or a directory of Python source")
    return Path(path)
