"""A mistake of the test is shown at the test's own line: those behind it are blackstart's and tell its author nothing.

Only what is a BlackstartError is shortened; of an injected fault and of our own bugs all frames stay, and
`--full-trace` shows them of everything.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import TracebackType

import pytest

_OURS = Path(__file__).parents[1]
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_INSTALLED = (Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib")))


def shorten(call: pytest.CallInfo[None], config: pytest.Config) -> str:
    """Leave out the frames behind the last of the test's own; where it has none, what is said instead."""
    from blackstart.core.errors import BlackstartError

    excinfo = call.excinfo
    if excinfo is None or not isinstance(excinfo.value, BlackstartError) or config.getoption("fulltrace"):
        return ""
    error = excinfo.value
    entries = _entries(error.__traceback__)
    theirs = [number for number, entry in enumerate(entries) if _is_theirs(entry.tb_frame.f_code.co_filename)]
    if not theirs:
        return f"{type(error).__name__}: {error}"
    short: TracebackType | None = None
    for entry in reversed(entries[: theirs[-1] + 1]):
        short = TracebackType(short, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    call.excinfo = pytest.ExceptionInfo.from_exception(error.with_traceback(short))
    return ""


def _entries(traceback: TracebackType | None) -> list[TracebackType]:
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


def _is_theirs(name: str) -> bool:
    """Neither blackstart's nor pytest's, nor the standard library's, which calls for both."""
    path = Path(name)
    for installed in _INSTALLED:  # may lie below the standard library
        if path.is_relative_to(installed):
            return path.relative_to(installed).parts[0] not in ("_pytest", "pluggy", _OURS.name)
    return not path.is_relative_to(_OURS) and not path.is_relative_to(_LIBRARY)
