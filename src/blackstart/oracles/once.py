"""What is left of a job that refuses a second run, such as a migration, `patch` or `gzip`: no re-run can mend it.

So what stands there when the first run is over is judged as it is, and only where it can be nobody's recovery: what the
clean run changes but keeps (most of the old content is in the new one) must hold the old, the new, or what stood there
at a boundary of the clean run; and where the clean run removes a file that it read, what it made of it must be whole.
Where another file holds the old or the new content, nothing is lost. Binary formats are left out of the first: what
their owner can make of a half-written one is not known.
"""

from __future__ import annotations

from blackstart.core.reading import FileState
from blackstart.core.verdict import GONE_AND, Verdict, failed
from blackstart.oracles.compare import holds_share_of, is_broken, is_empty, is_less
from blackstart.oracles.legal import CORRUPT, LOST, legal_unrecovered, versions_of
from blackstart.oracles.view import View
from blackstart.oracles.words import AFTER_CUT, AT_ITS_END, difference

_SHARE = 0.5


def judge_once(view: View, name: str) -> tuple[Verdict, ...]:
    """`lost` or `corrupt`, one verdict each; () where nothing of value is gone."""
    found: dict[str, dict[str, str]] = {LOST: {}, CORRUPT: {}}
    for path in view.judged():
        outcome, sentence = _of_update(view, path) or _of_removal(view, path) or ("", "")
        if outcome in found:
            found[outcome][path] = sentence
    return tuple(
        failed(name, consequence, *files.values(), "the program refuses a second run, which could mend it", paths=files)
        for consequence, files in found.items()
        if files
    )


def _of_update(view: View, path: str) -> tuple[str, str] | None:
    """Whether a file that the clean run updates holds neither the old nor the new content."""
    assert view.clean is not None and view.first is not None
    old, new = versions_of(view, path)[:1], view.clean.files.get(path)
    if not old or is_empty(old[0]) or new is None or not _is_kept(old[0], new):
        return None
    legal, state = legal_unrecovered(view, path), view.state(view.first, path)
    outcome = legal.judge(state)
    if outcome not in (LOST, CORRUPT) or _stands_elsewhere(view, path, (old[0], new)):
        return None
    when = AFTER_CUT if view.history.kind == "power" else AT_ITS_END  # a cut may also fall after the end
    return outcome, legal.sentence(path, state, when=when)


def _is_kept(old: FileState | None, new: FileState) -> bool:
    """Whether the clean run keeps at least half of what was there."""
    if old is None or old.content is None or old.content.form in ("", "bytes"):
        return False
    return holds_share_of(new, old, _SHARE)


def _of_removal(view: View, path: str) -> tuple[str, str] | None:
    """Whether this new file is not whole while a file that the clean run read and removed is gone."""
    assert view.clean is not None and view.first is not None
    new, state = view.clean.files.get(path), view.state(view.first, path)
    if new is None or any(versions_of(view, path)[:1]) or is_empty(new):
        return None
    why = is_broken(state, (new,))
    if not (why or is_less(state, new)):
        return None
    for source in view.judged(("state",)):
        old = versions_of(view, source)[:1]
        is_removed = view.clean.files.get(source) is None and view.state(view.first, source) is None
        if old and is_removed and not is_empty(old[0]) and not _stands_elsewhere(view, source, (old[0],)):
            return LOST, f"{source}{GONE_AND}{difference(path, state, new, why)}"
    return None


def _stands_elsewhere(view: View, path: str, contents: tuple[FileState | None, ...]) -> bool:
    """Whether another file holds one of these contents whole."""
    assert view.first is not None
    digests = {content.digest for content in contents if content is not None and content.digest}
    return any(state.digest in digests and view.masker(other) != path for other, state in view.first.image.items())
