"""Do a service's files still read after its recovery?

What a service keeps at a moment nobody chose cannot be compared with what clean runs kept, so less is asked than of a
job: what reads in every clean run (as JSON, as a database …) still reads after a restart that worked, and what stood
there at the start and in every clean run is not gone. What it answers is the affair of `acknowledged`.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.reading import FileState
from blackstart.core.verdict import Verdict, failed, passed, unknown
from blackstart.oracles import damage
from blackstart.oracles.compare import is_broken
from blackstart.oracles.legal import versions_of
from blackstart.oracles.view import DAMAGE_KINDS, View
from blackstart.oracles.words import AFTER_RESTART, difference

NAME = "state"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`corrupt` for what no longer reads, `lost` for what is gone."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS:
        return damage.judge_state(view, NAME)
    if view.clean is None or not view.restarts:
        return (unknown(NAME, "the service was not restarted, or there is no clean run to compare with"),)
    last = view.restarts[-1]
    if not view.ends_as_clean(last):
        return (passed(NAME, "it does not come up, which is the restart's affair"),)
    if last.readings:
        return (passed(NAME, "the answers of --check decide"),)
    corrupt: dict[str, str] = {}
    lost: dict[str, str] = {}
    for path in view.judged(("state",)):
        versions, state = versions_of(view, path), view.state(last, path)
        if state is None:
            if versions and all(version is not None for version in versions) and _stays(view, path):
                lost[path] = difference(path, None, versions[0], when=AFTER_RESTART)
        elif _is_structured(versions) and (why := is_broken(state, versions)):
            corrupt[path] = difference(path, state, versions[-1], why, when=AFTER_RESTART)
    verdicts = [
        failed(NAME, consequence, *files.values(), paths=files)
        for consequence, files in (("corrupt", corrupt), ("lost", lost))
        if files
    ]
    return tuple(verdicts) or (passed(NAME),)


def _is_structured(versions: tuple[FileState | None, ...]) -> bool:
    """Whether its clean contents have a form that can be broken; any bytes are a text."""
    forms = {version.content.form for version in versions if version is not None and version.content is not None}
    return bool(forms) and not forms & {"", "text", "bytes"}


def _stays(view: View, path: str) -> bool:
    """Whether the file stood after every clean start."""
    return all(path in clean.files for clean in view.calibration.chain)
