"""Files that share one masked name (a message for each time and process): which is which cannot be told.

So they are compared as a bag, content by content: are there as many as a clean run leaves, and is each of them whole?
One that nothing ever reads is not mended by a restart that makes one more beside it. One that is read may be passed
over by its reader, and what a reader makes of it is another oracle's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from blackstart.core.history import Run
from blackstart.core.masking import same
from blackstart.core.reading import FileState
from blackstart.core.units import plural
from blackstart.oracles.compare import is_broken, is_empty, is_extended
from blackstart.oracles.tearing import torn
from blackstart.oracles.view import View
from blackstart.oracles.words import AFTER_RESTART, AT_ITS_END, amount

States = Sequence[FileState]
_TAKING = frozenset("read pread64 readv preadv preadv2 mmap copy_file_range sendfile".split())


def fewer_at_end(view: View, first: Run) -> Iterator[tuple[str, str]]:
    """(masked path, sentence) of those that are fewer, or less, than what the clean run from there leaves."""
    for path, have, want in _compared(view, first):
        if _without(want, have) and (text := _fewer(path, have, want) or _half(view, path, have, want)):
            yield path, f"{AT_ITS_END} {text}"


def fewer_after(view: View, last: Run) -> Iterator[tuple[str, str]]:
    """The same of those that are fewer after a restart."""
    for path, have, want in _compared(view, last):
        if text := _fewer(path, have, want):
            yield path, f"{AFTER_RESTART} {text}"


def half_after(view: View, last: Run) -> Iterator[tuple[str, str]]:
    """(masked path, sentence) where the restart left one that is half made, which nothing ever reads."""
    for path, have, want in _compared(view, last):
        if not _is_read(view, path) and (text := _half(view, path, have, want)):
            yield path, f"{AFTER_RESTART} {text}"


def half_made(view: View, run: Run, path: str) -> FileState | None:
    """The first of them that is half made, if there is one."""
    known = [state for clean in view.calibration.chain for state in _bag(clean.files, path)]
    left = _without(_bag(view.image(run), path), known)
    return next((state for state in left if _why_half(state, known)), None)


def _compared(view: View, run: Run) -> Iterator[tuple[str, States, States]]:
    """(masked path, what stands there, what the clean run leaves there)."""
    assert view.clean is not None
    for path in view.shared():
        yield path, _bag(view.image(run), path), _bag(view.clean.files, path)


def _is_read(view: View, path: str) -> bool:
    """Whether clean runs read the content of any of them; `sync FILE` opens it as a reader does, and reads nothing."""
    trace = (one for run in view.calibration.chain for one in run.trace)
    return any(one.masked == path and one.call in _TAKING for one in trace)


def _bag(files: Mapping[str, FileState], path: str) -> States:
    found = [files[path]] if path in files else []
    while (state := files.get(f"{path} ({len(found) + 1})")) is not None:
        found.append(state)
    return found


def _without(states: States, others: Iterable[FileState]) -> States:
    """The states that have no equal among the others, one for one."""
    left = list(states)
    for other in others:
        at = next((at for at, state in enumerate(left) if same(state, other)), -1)
        if at >= 0:
            del left[at]
    return left


def _fewer(path: str, have: States, want: States) -> str:
    if len(have) >= len(want):
        return ""
    found = f"are {len(have)} files" if len(have) > 1 else "is 1 file" if have else "is no file"
    return f"there {found} {path}; clean runs leave {len(want)}"


def _half(view: View, path: str, have: States, want: States) -> str:
    known = [state for run in view.calibration.chain for state in _bag(run.files, path)]
    for state in _without(have, known):
        if why := _why_half(state, known):
            name = state.path.rsplit("/", 1)[-1]
            return f"{name}, one of {plural(len(have), 'file')} {path}, {why}; clean runs leave {amount(want[0])} in it"
    return ""


def _why_half(state: FileState, known: States) -> str:
    if state.kind != "file":
        return ""
    if is_empty(state):
        return "" if any(is_empty(one) for one in known) else "is empty"
    if any(is_extended(state, one) for one in known):
        return f"holds {amount(state)}, only the beginning of what clean runs write"
    piece = torn(state, known)
    return is_broken(state, known) or (f"is torn: {piece}" if piece else "")
