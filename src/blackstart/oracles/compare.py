"""Contents compared: is one legal, is it less than another, and in which words would a stranger see it.

A content is a bag of leaves; positions in lists, rows and lines count as equal places, so that "fewer" and "not seen
before" can be told apart without knowing the program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from blackstart.core.masking import general, is_comparable, same
from blackstart.core.reading import Content, FileState

_FORMS = {"json": "JSON", "toml": "TOML", "ini": "an INI file", "csv": "CSV", "xml": "XML", "yaml": "YAML",
          "sqlite": "an SQLite database", "text": "text", "bytes": "binary data"}  # fmt: skip
_SHOWN = 60


def leaves_of(state: FileState | None) -> tuple[tuple[str, str], ...] | None:
    """All leaves; () for no file; None where they are not all known."""
    if state is None:
        return ()
    if state.content is None or not is_comparable(state.content):
        return None
    return state.content.leaves


def is_empty(state: FileState | None) -> bool:
    """Nothing there: no file, no bytes, or no leaf but empty containers."""
    if state is None or (state.kind == "file" and state.size == 0):
        return True
    leaves = leaves_of(state)
    return leaves is not None and all(value in ("[]", "{}") or place.startswith("pragma/") for place, value in leaves)


def is_broken(state: FileState | None, models: Iterable[FileState | None]) -> str:
    """Why the content does not read as all its models do; `` if it does, or if the models do not tell."""
    if state is None or state.content is None or state.kind != "file":
        return ""
    contents = [model.content for model in models if model is not None and model.content is not None and model.size]
    if not contents or any(content.error or not content.form for content in contents):
        return ""
    forms = {content.form for content in contents}
    form = _FORMS.get(contents[-1].form, contents[-1].form)
    if state.content.error:
        return f"can no longer be read as {form} ({state.content.error})"
    if state.content.form and state.content.form not in forms and state.size and not forms & {"text", "bytes"}:
        return f"can no longer be read as {form} (it now looks like {_FORMS.get(state.content.form, 'something else')})"
    return ""


def is_one_of(state: FileState | None, legal: Iterable[FileState | None]) -> bool:
    return any(same(state, one) for one in legal)


def is_less(state: FileState | None, other: FileState | None) -> bool:
    """Whether something that the other holds is gone: fewer values at some place."""
    if state is None or other is None:
        return state is None and other is not None
    if is_empty(state):
        return not is_empty(other)
    mine, theirs = leaves_of(state), leaves_of(other)
    if mine is None or theirs is None or not _alike(state.content, other.content):
        return False
    if other.content is not None and other.content.form == "bytes":
        return state.size < other.size
    return bool(_counts(theirs) - _counts(mine))


def is_between(
    state: FileState | None, low: FileState | None, high: FileState | None, known: Iterable[FileState | None]
) -> bool:
    """Whether the content could be a step on the way from low to high.

    At each place there are no fewer values than in low and no more than in high, and each value was seen at that
    place in a clean run, or is a number between those of low and high.
    """
    leaves = leaves_of(state), leaves_of(low), leaves_of(high)
    if state is None or leaves[0] is None or leaves[1] is None or leaves[2] is None:
        return False
    counts, lowest, highest = (_counts(some) for some in (leaves[0], leaves[1], leaves[2]))
    if lowest - counts or counts - (highest | lowest):
        return False
    familiar = {(general(place), value) for one in known for place, value in leaves_of(one) or ()}
    familiar |= {(general(place), value) for place, value in (*leaves[1], *leaves[2])}
    numbers = _numbers((*leaves[1], *leaves[2]))
    for place, value in leaves[0]:
        where = general(place)
        if (where, value) not in familiar and not _within(value, numbers.get(where)):
            return False
    return True


def with_torn_end(state: FileState | None, known: Iterable[FileState | None]) -> FileState | None:
    """The state without lines that are a beginning of a line seen in clean runs: a torn record, tolerated."""
    if state is None or state.content is None or state.content.form != "text" or not is_comparable(state.content):
        return state
    whole = {value for one in known for _, value in leaves_of(one) or ()}
    kept = [value for _, value in state.content.leaves if value in whole or not any(w.startswith(value) for w in whole)]
    leaves = tuple(sorted((str(number), value) for number, value in enumerate(kept, 1)))
    content = Content(form="text", leaves=leaves, count=len(leaves))
    return FileState(path=state.path, size=state.size, mode=state.mode, content=content)


def is_growing(versions: Iterable[FileState | None]) -> bool:
    """Whether each version holds all that the one before it held (at least two versions with content)."""
    bags = []
    for version in versions:
        leaves = leaves_of(version)
        if leaves is None:
            return False
        bags.append(Counter((general(place), value) for place, value in leaves if value not in ("[]", "{}")))
    return len(bags) > 1 and all(not one - other for one, other in pairwise(bags))


def difference(path: str, seen: FileState | None, expected: FileState | None, why: str = "") -> str:
    """One sentence: what is there, what should be, and where they differ first."""
    if seen is None:
        return f"{path} is missing; clean runs leave {_amount(expected)} in it"
    if why:
        return f"{path} {why}; it has {seen.size} bytes, clean runs leave {_amount(expected)}"
    if expected is None:
        return f"{path} is there with {_amount(seen)}; clean runs leave no such file"
    if is_empty(seen):
        return f"{path} is empty; clean runs leave {_amount(expected)} in it"
    place, have, want = _first_difference(seen, expected)
    start = f"{path} holds {_amount(seen)}, clean runs leave {_amount(expected)}"
    return f"{start}; first difference at {place}: {have} instead of {want}" if place else start


def _alike(one: Content | None, other: Content | None) -> bool:
    return one is not None and other is not None and one.form == other.form


def _counts(leaves: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(general(place) for place, value in leaves if value not in ("[]", "{}"))


def _numbers(leaves: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for place, value in leaves:
        number = _number(value)
        if number is not None:
            low, high = found.get(general(place), (number, number))
            found[general(place)] = min(low, number), max(high, number)
    return found


def _number(value: str) -> float | None:
    try:
        return float(value.strip("\"'"))
    except ValueError:
        return None


def _within(value: str, bounds: tuple[float, float] | None) -> bool:
    number = _number(value)
    return bounds is not None and number is not None and bounds[0] <= number <= bounds[1]


def _amount(state: FileState | None) -> str:
    if state is None:
        return "no file"
    content = state.content
    if content is None or not content.form or content.error or content.form == "bytes":
        return f"{state.size} bytes"
    if content.form == "sqlite":
        rows = {place.rsplit("/", 1)[0] for place, _ in content.leaves if place.count("/") == 2}
        return _plural(len(rows), "row")
    return _plural(content.count, "line" if content.form == "text" else "value")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _first_difference(seen: FileState, expected: FileState) -> tuple[str, str, str]:
    have, want = dict(leaves_of(seen) or ()), dict(leaves_of(expected) or ())
    places = [place for place in have.keys() | want.keys() if have.get(place) != want.get(place)]
    if not places or seen.content is None or seen.content.form == "bytes":
        return "", "", ""
    place = min(places, key=_natural)
    shown = f"line {place}" if seen.content.form == "text" else place
    return shown, _short(have.get(place)), _short(want.get(place))


def _natural(place: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", place) if part]


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
