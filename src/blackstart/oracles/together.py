"""Do files that every clean run changes together still stand at one and the same run?

A kill between two of them leaves one changed and one not. Each content is legal by itself, and a job of several steps
may stop between any two: only who wrote it knows whether they must agree. So it is a note, which names them.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.masking import same
from blackstart.core.verdict import NOTE, Verdict, failed, passed
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
    paths = sorted((max(runs, key=lambda path: runs[path]), min(runs, key=lambda path: runs[path])))
    text = "after the restart " + " and ".join(f"{path} has what {_counted(runs[path])}" for path in paths)
    doubt = "clean runs change them together; whether they must agree, only --check can tell"
    return (failed(NAME, "corrupt", text, doubt, paths=paths, label=NOTE),)


def _runs(view: View) -> dict[str, int]:
    """Masked path -> how many clean runs from this start leave what stands there, where each leaves something else."""
    assert view.clean is not None
    clean = (view.clean, *view.later[: view.reruns])
    found = {}
    for path in view.judged():
        finals = [run.files.get(path) for run in clean]
        differ = all(not same(one, other) for at, one in enumerate(finals) for other in finals[:at])
        state = view.state(view.restarts[-1], path)
        at = next((at for at, final in enumerate(finals) if same(final, state)), -1)
        if state is not None and differ and len(finals) == view.reruns + 1 and at >= 0:
            found[path] = at + 1
    return found


def _counted(runs: int) -> str:
    return "1 clean run leaves" if runs == 1 else f"{runs} clean runs leave"
