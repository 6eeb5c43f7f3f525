"""Does what a removed file held still stand somewhere?

A program that carries what it keeps from file to file (compaction, rotation) may be without any one of them: what clean
re-runs make of its boundaries shows that, so that a missing file is legal. A value that stood there at the start, and
that each clean run keeps wherever it likes, is lost all the same if no file holds it after the restart.
"""

from __future__ import annotations

from collections.abc import Iterable

from blackstart.core.history import Run
from blackstart.core.reading import FileState
from blackstart.core.verdict import GONE_AND
from blackstart.oracles.compare import EMPTY, leaves_of
from blackstart.oracles.legal import versions_of
from blackstart.oracles.view import View

SHOWN_MAX, SHOWN_CHARS = 3, 60


def nowhere(view: View, last: Run) -> dict[str, str]:
    """Masked path of a file that is gone after the restart -> what of it no file holds any more, for a person."""
    assert view.clean is not None
    clean = (view.clean, *view.later[: view.reruns])
    missing = {path: versions_of(view, path)[:1] for path in view.judged() if view.state(last, path) is None}
    if len(clean) <= view.reruns or not any(missing.values()):
        return {}
    now = _values(view.masker.image(last.image).values())
    if now is None:
        return {}  # it may stand where nobody can read it
    finals = [_values(run.files.values()) or set() for run in clean]
    found = {}
    for path, start in missing.items():
        gone = (_values(start) or set()).intersection(*finals) - now
        if gone:
            found[path] = f"{path}{GONE_AND}no file holds {_shown(gone)} any more, which every clean run keeps"
    return found


def _values(files: Iterable[FileState | None]) -> set[str] | None:
    """All values that these files hold, lines of text among them; None where one of them cannot be read so."""
    found: set[str] = set()
    for state in files:
        leaves = leaves_of(state) if state is None or (state.kind == "file" and state.size) else ()
        if leaves is None or (leaves and state and state.content and state.content.form == "bytes"):
            return None
        found |= {value for _, value in leaves if value.strip() and value not in EMPTY}
    return found


def _shown(gone: set[str]) -> str:
    some = sorted(gone, key=lambda value: (-len(value), value))[:SHOWN_MAX]
    text = ", ".join(f"`{value[:SHOWN_CHARS]}`" for value in some)
    return f"{text} and {len(gone) - len(some)} more" if len(gone) > len(some) else text
