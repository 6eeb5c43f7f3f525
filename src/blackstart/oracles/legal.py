"""Which contents a file may have after a recovery, and what it means when it has another.

After a re-run the legal set is {old + re-run, new + re-run} and what re-runs from boundary states gave. Where not all
boundary states were re-run, or the file only ever grows, a content between old + re-run and new + re-run is legal
too: a step that nobody measured is not a defect.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blackstart.core.masking import BEFORE, UNREAD, same
from blackstart.core.reading import FileState
from blackstart.oracles.compare import (
    difference,
    is_between,
    is_broken,
    is_growing,
    is_less,
    is_one_of,
    with_torn_end,
)
from blackstart.oracles.view import View

LEGAL, LOST, CORRUPT, UNSURE = "legal", "lost", "corrupt", "unsure"


@dataclass(frozen=True)
class Legal:
    """exact: contents that are legal as they are; low, high: old + re-run and new + re-run; known: all contents seen
    in clean runs; loose: whether steps between low and high are legal; complete: whether high is known.
    """

    exact: tuple[FileState | None, ...]
    low: FileState | None
    high: FileState | None
    known: tuple[FileState | None, ...]
    loose: bool
    complete: bool

    def judge(self, state: FileState | None) -> str:
        """legal, lost, corrupt, or unsure (the clean runs do not tell)."""
        if is_one_of(state, self.exact):
            return LEGAL
        if is_broken(state, self.known):
            return CORRUPT
        if self.loose and self.complete:
            tolerated = with_torn_end(state, self.known)
            if any(is_between(one, self.low, self.high, self.known) for one in (state, tolerated)):
                return LEGAL
        if is_less(state, self.low) or (state is not None and is_one_of(state, self._older())):
            return LOST
        if not self.complete or self.loose or not _is_known(self.low) or not _is_known(state):
            return UNSURE
        return CORRUPT

    def sentence(self, path: str, state: FileState | None) -> str:
        """What is there and what should be, for a person."""
        return difference(path, state, self.low if self.low is not None else self.high, is_broken(state, self.known))

    def _older(self) -> Iterable[FileState | None]:
        return (one for one in self.known if one is not None and is_less(one, self.low))


def versions_of(view: View, path: str) -> tuple[FileState | None, ...]:
    """The versions that the clean run from the same start went through."""
    assert view.clean is not None
    found = view.clean.versions.get(path)
    if found is None:
        return (view.clean.files.get(path),)
    return tuple(state for state in found if state is None or state.kind != UNREAD)


def reruns_of(view: View, path: str) -> list[tuple[FileState | None, FileState | None]]:
    """(boundary content, content after a clean re-run from there) pairs."""
    entries = view.calibration.boundary_reruns.get(view.history.start, ())
    return [(entry.get(BEFORE + path), entry.get(path)) for entry in entries]


def legal_after(view: View, path: str, *, recovered: bool) -> Legal:
    """The legal set after the restarts of this history; recovered: the last one ended as a clean re-run does."""
    clean = view.clean
    assert clean is not None
    made = max(1, len(view.restarts))
    finals = [clean.files.get(path), *(run.files.get(path) for run in view.later[:made])]
    reruns = reruns_of(view, path)
    versions = versions_of(view, path)
    exact = [*finals, *(after for _, after in reruns)]
    low, high = finals[0], finals[-1]
    if not recovered:  # the re-run may have stopped anywhere, so its steps are legal too
        exact += versions
        for run in view.later[:made]:
            exact += [state for state in run.versions.get(path, ()) if state is None or state.kind != UNREAD]
        low = versions[0]
    older = [state for run in view.earlier for state in (*run.versions.get(path, ()), run.files.get(path))]
    later = [state for run in view.later for state in run.versions.get(path, ())]
    known = tuple(state for state in (*older, *versions, *later, *exact) if state is None or state.kind != UNREAD)
    return Legal(
        exact=tuple(exact),
        low=low,
        high=high,
        known=known,
        loose=not _all_measured(view, path, versions, reruns) or is_growing(versions),
        complete=len(finals) > 1,
    )


def _all_measured(
    view: View,
    path: str,
    versions: tuple[FileState | None, ...],
    reruns: list[tuple[FileState | None, FileState | None]],
) -> bool:
    """Whether each version between the first and the last was re-run from."""
    assert view.clean is not None
    if len(versions) != len(view.clean.versions.get(path, versions)):
        return False
    before = [start for start, _ in reruns]
    ends = (versions[0], versions[-1])
    return all(is_one_of(version, ends) or is_one_of(version, before) for version in versions)


def last_index(versions: tuple[FileState | None, ...], state: FileState | None) -> int:
    """The highest version that equals the state; -1 if none does."""
    return max((index for index, version in enumerate(versions) if same(version, state)), default=-1)


def _is_known(state: FileState | None) -> bool:
    return state is None or (state.content is not None and bool(state.content.form))
