"""`blackstart failpoints`: the failpoints of a source tree, read and never imported; and whether tests name others."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated

import typer

from blackstart.cli.ending import finish


def add(app: typer.Typer) -> None:
    """Register the command."""

    @app.command()
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
    """Print; 0, or 1 where a name is wrong, stands twice, or is armed and nowhere."""
    from blackstart.inprocess import places_of, sites_below

    places = places_of(sites_below(map(_existing, paths)))
    wrong = 0
    for name, sites in sorted(places.items()):
        remark = sites[0].fault or ("the name stands in more than one place" if len(sites) > 1 else "")
        wrong += bool(remark)
        for site in sites:
            typer.echo(f"{name}  {site}" + (f"  ({remark})" if remark else ""))
    for test in tests:
        for name, where in armed_in(_existing(test)):
            if name not in places:
                wrong += 1
                typer.echo(f"{where}: no failpoint {name!r}{_near(name, list(places))}")
    return 1 if wrong else 0


def armed_in(root: Path) -> list[tuple[str, str]]:
    """The names that test files below `root` arm, each with its place: text arguments of `armed` and of `.arm`."""
    found = []
    for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and _arms(node.func):
                names = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else [node.args[0]]
                for name in names:
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        found.append((name.value, f"{path}:{name.lineno}"))
    return found


def _arms(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in ("arm", "armed")
    return isinstance(function, ast.Name) and function.id == "armed"


def _near(name: str, names: list[str]) -> str:
    from blackstart.core.verbs import near

    return near(name, names)


def _existing(path: str) -> Path:
    from blackstart.core.errors import BlackstartError

    if not Path(path).exists():
        raise BlackstartError(f"{path} does not exist", next_step="name a file or a directory of Python source")
    return Path(path)
