"""Do files that every clean run changes together still stand at one and the same run?

A kill between two of them leaves one changed and one not. Each content is legal by itself, and a job of several steps
may stop between any two: only who wrote it knows whether they must agree. So it is a note, which names them.
"""

from __future__ import annotations

from collections.abc import Sequence

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.masking import same
from blackstart.core.reading import FileState
from blackstart.core.verdict import NOTE, Verdict, failed, passed
from blackstart.oracles.compare import is_extended
from blackstart.oracles.legal import versions_of
from blackstart.oracles.view import View

NAME = "together"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`corrupt`, a note, if two files hold what different numbers of clean runs leave, though one restart followed."""
    view = View(history, calibration)
    if not view.is_left_to_a_check:
        return (passed(NAME, "nothing here leaves two files apart, or the check tells"),)
    runs = _runs(view)
    if len(set(runs.values())) < 2:
        return (passed(NAME),)
    most, least = max(runs.values()), min(runs.values())
    paths = sorted(next(path for path in runs if runs[path] == number) for number in (most, least))
    text = "after the restart " + " and ".join(f"{path} has {_counted(runs[path])}" for path in paths)
    doubt = "clean runs change them together; whether they must agree, only --check can tell"
    return (failed(NAME, "corrupt", text, doubt, paths=paths, label=NOTE),)


def _runs(view: View) -> dict[str, int]:
    """Masked path -> how many clean runs from this start leave what stands there, where each leaves something else.

    And where the first one alone changes the file, if one of these was never changed: 0 for those that were not.
    """
    assert view.clean is not None
    clean = (view.clean, *view.later[: view.reruns])
    found: dict[str, int] = {}
    once: dict[str, int] = {}
    for path in view.judged():
        finals = [run.files.get(path) for run in clean]
        state = view.state(view.restarts[-1], path)
        if state is None or len(finals) <= view.reruns:
            continue
        at = next((at for at, final in enumerate(finals) if same(final, state)), -1)
        if all(not same(one, other) for at, one in enumerate(finals) for other in finals[:at]):
            found |= {path: at + 1} if at >= 0 else {}
        elif _changes_once(view, path, finals):
            old = versions_of(view, path)[0]
            once |= {path: 0} if same(old, state) else {path: 1} if at >= 0 else {}
    return {**found, **once} if 0 in once.values() else found


def _changes_once(view: View, path: str, finals: Sequence[FileState | None]) -> bool:
    """Whether the first run from here rewrites what stood there, and a later one leaves that as it is.

    A line that is only added tells of the work, and may be left out where the work was found done.
    """
    old = versions_of(view, path)[0]
    if old is None or same(old, finals[0]) or is_extended(old, finals[0]):
        return False
    return all(same(one, finals[0]) for one in finals)


def _counted(runs: int) -> str:
    if not runs:
        return "what stood there at the start"
    return f"what {runs} clean run{'s leave' if runs > 1 else ' leaves'}"
