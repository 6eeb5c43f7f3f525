"""Write-behind: an output names something that the files hold only later, and a kill in between shows the loss.

Seen in clean runs first: at an output event a file stands at one version, and before the next event it gets another,
which holds a word of that line that no file had. What a line announces ("start", "saving") says nothing of
what is kept, so a line without such a word is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from blackstart.core.masking import UNREAD, same
from blackstart.core.reading import FileState
from blackstart.oracles.outputs import events_out
from blackstart.oracles.view import View
from blackstart.oracles.words import short_line

_KEEPS = ("state", "output", "scratch")
_WORD = re.compile(r"[0-9]{2,}|[^\W_]{3,}")


@dataclass(frozen=True)
class Behind:
    """paths: files that a kill left below what the line names; evidence: sentences."""

    paths: tuple[str, ...]
    evidence: tuple[str, ...]


def written_behind(view: View) -> Behind | None:
    """What the last output before the kill named and the kill has lost; None if nothing."""
    clean, first = view.clean, view.first
    if clean is None or first is None or len(clean.acknowledgements) != clean.stdout.count("\n"):
        return None
    events = events_out(view, first)
    if not events:
        return None
    line = clean.stdout.split("\n")[events - 1]
    named = _words(line)
    kept = [state for path, state in view.image(first).items() if view.calibration.roles.get(path) in _KEEPS]
    named -= {word for state in kept for word in _words_of(state)}  # a journal, say, from which the rest is made
    paths, window_s = [], 0.0
    for path in view.judged():
        at, later = _around(view, path, events)
        if later and same(view.state(first, path), at) and named & (_words_of(later[-1]) - _words_of(at)):
            paths.append(path)
            window_s = max(window_s, _window_s(view, path, events))
    if not paths:
        return None
    lost = f"the line {short_line(line)} had got out, and {', '.join(paths)} did not hold yet what it names"
    measured = f"in clean runs it is written {window_s * 1000:.0f} ms after the line" if window_s else ""
    return Behind(tuple(paths), tuple(filter(None, (lost, measured))))


def _around(view: View, path: str, events: int) -> tuple[FileState | None, tuple[FileState | None, ...]]:
    """(the version that stood at this event, those that followed before the next event)."""
    assert view.clean is not None
    versions, known = view.clean.versions.get(path, ()), view.clean.acknowledgements
    at = known[events - 1].versions.get(path, 0)
    end = known[events].versions.get(path, 0) if events < len(known) else len(versions) - 1
    found = versions[at : end + 1]
    if not found or any(state is not None and state.kind == UNREAD for state in found):
        return None, ()
    return found[0], found[1:]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text))


def _words_of(state: FileState | None) -> set[str]:
    leaves = state.content.leaves if state is not None and state.content is not None else ()
    return {word for place, value in leaves for word in (*_words(value), *_words(place))}


def _window_s(view: View, path: str, events: int) -> float:
    """From the line to the last change of the file before the next line; 0 where that was not measured."""
    assert view.clean is not None
    lines_s = [event.at_s for event in view.clean.acknowledgements]
    begin_s, end_s = lines_s[events - 1], (*lines_s, float("inf"))[events]
    changes = [
        operation.at_s
        for operation in view.clean.trace
        if operation.changes and path in (operation.masked, operation.path2) and begin_s < operation.at_s <= end_s
    ]
    return max(changes, default=begin_s) - begin_s if begin_s else 0.0
