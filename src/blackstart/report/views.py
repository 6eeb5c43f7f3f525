"""The forms in which a report can be written, one row each, and how a file of any of them is written.

Each form is a module with `render`; it is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from blackstart.core.errors import BlackstartError
from blackstart.report.model import Report

# Form -> who renders it. The names are those of the options.
FORMS = {
    "json": "blackstart.report.json",
    "html": "blackstart.report.html",
    "junit": "blackstart.report.junit",
    "sarif": "blackstart.report.sarif",
    "markdown": "blackstart.report.markdown",
}
STDOUT = "-"


def render(report: Report, form: str) -> bytes:
    """The report in one form."""
    rendered: bytes = importlib.import_module(FORMS[form]).render(report)
    return rendered


def write_all(report: Report, files: Mapping[str, str]) -> None:
    """Write the report in each form that has a file."""
    for form, path in files.items():
        if path:
            again = f"name another file with --{form}; `blackstart report --{form} FILE` writes it again"
            write(render(report, form), path, again)


def check(files: Mapping[str, str]) -> None:
    """Say before a run that a report could not be written after it."""
    if sum(path == STDOUT for path in files.values()) > 1:
        raise BlackstartError("only one report can go to standard output", next_step="name a file for the others")
    for form, path in files.items():
        folder = os.path.dirname(os.path.abspath(path))
        can_write = os.path.isdir(folder) and os.access(folder, os.W_OK) and not os.path.isdir(path)
        if path and path != STDOUT and not can_write:
            raise BlackstartError(
                f"the {form} report could not be written there",
                where=path,
                next_step="name a file in a directory that you may write to",
            )


def write(raw: bytes, path: str, next_step: str) -> None:
    """Write a file, such as a rendered report; a reader sees the old one or the whole new one. `-` is standard output.

    next_step: what an error tells to do.
    """
    if path == "-":
        _write_all(1, raw)
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            _write_device(path, raw)
            return
        with replaced(path) as file:
            file.write(raw)
    except OSError as error:
        raise BlackstartError(
            f"the file cannot be written: {error.strerror}",
            where=path,
            next_step=next_step,
        ) from error


@contextmanager
def replaced(path: str) -> Iterator[BinaryIO]:
    """A file that takes the place of the one at `path` once it is whole; OSError where that cannot be."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".report-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _write_device(path: str, raw: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        _write_all(descriptor, raw)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]
