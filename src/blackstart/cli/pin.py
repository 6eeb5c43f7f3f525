"""`blackstart pin`: a finding becomes a test of the project's own suite."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from blackstart.cli.ending import finish

PYTEST, GO = "pytest", "go"


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command(short_help="Write a test that is red until the program is repaired.")(pin)


def pin(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="An id, or REPORT.json#ID.")],
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="Where the tests are; else here.")] = ".",
    language: Annotated[str, typer.Option("--language", metavar="NAME", help="pytest or go.")] = PYTEST,
    cwd: Annotated[
        str | None, typer.Option("--cwd", metavar="DIR", help="Where the program starts; else here.")
    ] = None,
) -> None:
    """Write a test that is red while the program still fails in this way."""
    finish(lambda: _pin(finding, directory, language, cwd))


def _pin(reference: str, folder: str, language: str, cwd: str | None) -> int:
    import msgspec

    from blackstart.cli import session
    from blackstart.core.errors import BlackstartError
    from blackstart.report import json, terminal, views
    from blackstart.report.lookup import load_finding
    from blackstart.report.pin import go_test, pinned_report, pytest_test

    place = session.directory(cwd)
    if language not in (PYTEST, GO):
        raise BlackstartError(f"there is no language {language!r}", next_step=f"say {PYTEST} or {GO}")
    if not os.path.isdir(folder):
        raise BlackstartError("this directory does not exist", where=folder, next_step="make it, or name another")
    located = load_finding(reference, place)
    try:
        report = pinned_report(located.finding, located.options)
    except msgspec.ValidationError as error:
        raise BlackstartError(
            f"this finding cannot be read: {error}", where=reference, next_step="make the report again"
        ) from None
    [found] = report.findings
    data = f"{found.id}.json"
    start = os.path.relpath(os.path.realpath(place), os.path.realpath(folder))
    if language == GO:
        name, text = go_test(found, data, start, _package(folder))
    else:
        name, text = pytest_test(found, data, start)
    for file, raw in ((data, json.render(report)), (name, text.encode())):
        path = os.path.join(folder, file)
        views.write(raw, path, "name a directory that you may write to")
        terminal.console().print(terminal.line(f"written: {path}"), soft_wrap=True)
    return 0


def _package(folder: str) -> str:
    """The package that the directory's Go files belong to."""
    from blackstart.report.pin import PACKAGE

    for name in sorted(os.listdir(folder)):
        if name.endswith(".go"):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                said = re.search(r"^package\s+(\w+)", file.read(100_000), re.MULTILINE)
            if said:
                return said[1]
    return PACKAGE
