"""Folders that are caches as a whole: what a program keeps beside its cached results (when they were made, a note for
version control) is not made anew when it alone is deleted, but with all of the folder it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from blackstart.core.masking import CWD, HOME
from blackstart.surface.roles import Deletion

_DERIVED = ("state", "output", "cache")


def doubtful_folders(roles: Mapping[str, str], deletions: Mapping[str, Deletion]) -> Iterator[str]:
    """Masked paths of folders around cached files, the outermost first, for which a deletion trial may tell that all in
    them can be made anew. Asked for lazily: what a trial told counts for the next one.
    """
    seen = set()
    for path in sorted(path for path, role in roles.items() if role == "cache" and path in deletions):
        for folder in _around(path):
            if folder not in seen and _is_doubtful(within(folder, roles), roles, deletions):
                yield folder
            seen.add(folder)


def within(folder: str, roles: Mapping[str, str]) -> tuple[str, ...]:
    """The masked paths below it."""
    return tuple(path for path in roles if path.startswith(f"{folder}/"))


def _around(path: str) -> Iterator[str]:
    root, *parts = path.split("/")
    if root in (CWD, HOME):
        yield from ("/".join((root, *parts[:depth])) for depth in range(1, len(parts)))


def _is_doubtful(paths: tuple[str, ...], roles: Mapping[str, str], deletions: Mapping[str, Deletion]) -> bool:
    """Whether something there is no cache yet, and nothing there is known to be needed."""
    kept = [path for path in paths if roles[path] not in ("scratch", "lock")]
    if any(roles[path] not in _DERIVED or (path in deletions and deletions[path].answers_changed) for path in kept):
        return False
    return any(not (path in deletions and deletions[path].rebuilt_equal) for path in kept)
