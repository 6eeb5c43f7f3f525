"""Which contents a file may have after a recovery, and what it means when it has another.

After a re-run the legal set is {old + re-run, new + re-run} and what re-runs from boundary states gave. Where not all
boundary states were re-run, or the file only ever grows, a content between old + re-run and new + re-run is legal
too: a step that nobody measured is not a defect. A content that holds something new (an error that the program
noted, a count of its crashes) is not judged: only what is gone, torn, unreadable or a mixture never seen is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from blackstart.core.masking import BEFORE, UNREAD, same
from blackstart.core.reading import FileState
from blackstart.oracles.compare import (
    holds_all_of,
    is_between,
    is_broken,
    is_growing,
    is_less,
    is_one_of,
    unfamiliar,
    with_torn_end,
)
from blackstart.oracles.tearing import torn
from blackstart.oracles.view import View
from blackstart.oracles.words import AFTER_RESTART, difference

LEGAL, LOST, CORRUPT, UNSURE = "legal", "lost", "corrupt", "unsure"


@dataclass(frozen=True)
class Legal:
    """exact: contents that are legal as they are; low, high: old + re-run and new + re-run; versions: those of the
    clean run from this start; known: all contents seen in clean runs; is_measured: whether a clean re-run was made
    from each version; is_complete: whether high is known.
    """

    exact: tuple[FileState | None, ...]
    low: FileState | None
    high: FileState | None
    versions: tuple[FileState | None, ...]
    known: tuple[FileState | None, ...]
    is_measured: bool
    is_complete: bool

    @cached_property
    def is_loose(self) -> bool:
        """Whether steps between low and high are legal."""
        return not self.is_measured or is_growing(self.versions)

    def judge(self, state: FileState | None) -> str:
        """legal, lost, corrupt, or unsure (the clean runs do not tell)."""
        if is_one_of(state, self.exact):
            return LEGAL
        if is_broken(state, self.known):
            return CORRUPT
        if self.is_loose and self.is_complete:
            tolerated = with_torn_end(state, self.known)
            if any(is_between(one, self.low, self.high, self.known) for one in (state, tolerated)):
                return LEGAL
        if is_less(state, self.low, self.high):
            return LOST
        if state is None or not self.is_complete or any(holds_all_of(state, one) for one in self.exact if one):
            return UNSURE
        if torn(state, self.known):
            return CORRUPT
        if self.is_loose or not _is_known(state) or unfamiliar(state, self.known):
            return UNSURE
        return LOST if is_one_of(state, self.known) else CORRUPT

    def sentence(self, path: str, state: FileState | None, *, when: str = AFTER_RESTART) -> str:
        """What is there and what should be, for a person."""
        expected = self.low if self.low is not None else self.high
        broken = is_broken(state, self.known)
        text = difference(path, state, expected, broken, when=when)
        piece = torn(state, self.known) if state is not None and not broken else ""
        return f"{text}; {piece}" if piece else text


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


def legal_after(view: View, path: str) -> Legal:
    """The legal set after the restarts of this history, the last of which ended as a clean re-run does."""
    clean = view.clean
    assert clean is not None
    finals = [clean.files.get(path), *(run.files.get(path) for run in view.later[: view.reruns])]
    reruns = reruns_of(view, path)
    versions = versions_of(view, path)
    exact = (*finals, *(after for _, after in reruns))
    return Legal(
        exact=exact,
        low=finals[0],
        high=finals[-1],
        versions=versions,
        known=_known(view, path, exact, versions),
        is_measured=view.reruns == 1 and _is_measured(view, path, versions, reruns),
        is_complete=len(finals) == view.reruns + 1,
    )


def legal_unrecovered(view: View, path: str) -> Legal:
    """The legal set where no restart worked: whatever clean runs and re-runs held at any boundary."""
    recovered = legal_after(view, path)
    later = [state for run in view.later[: view.reruns] for state in run.versions.get(path, ())]
    exact = (*recovered.exact, *recovered.versions, *(s for s in later if s is None or s.kind != UNREAD))
    return Legal(
        exact=exact,
        low=recovered.versions[0],
        high=recovered.versions[-1],
        versions=recovered.versions,
        known=recovered.known,
        is_measured=False,
        is_complete=True,
    )


def _known(
    view: View, path: str, exact: tuple[FileState | None, ...], versions: tuple[FileState | None, ...]
) -> tuple[FileState | None, ...]:
    """All contents that clean runs ever had there, each once."""
    assert view.clean is not None
    runs = (*view.earlier, *view.later)
    others = [state for run in runs for state in (*run.versions.get(path, ()), run.files.get(path))]
    found: dict[str, FileState] = {}
    for state in (*others, *versions, *exact):
        if state is not None and state.kind != UNREAD:
            found[state.content.digest if state.content else state.digest + state.target] = state
    return tuple(found.values())


def _is_measured(
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


def _is_known(state: FileState) -> bool:
    return state.content is not None and bool(state.content.form)
