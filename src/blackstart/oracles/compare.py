"""Contents compared: does one read, does it hold less than another, was each of its values seen before?

A content is a bag of leaves; positions in lists, rows and lines count as equal places, so that "fewer" and "not seen
before" can be told apart without knowing the program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from blackstart.core.masking import general, is_comparable, same
from blackstart.core.reading import Content, FileState, Leaves

FORMS = {"json": "JSON", "toml": "TOML", "ini": "an INI file", "csv": "CSV", "xml": "XML", "yaml": "YAML",
         "sqlite": "an SQLite database", "text": "text", "bytes": "binary data"}  # fmt: skip
EMPTY = ("[]", "{}")
_FOUND_BY_LOOKING = ("json", "ini")
# The number of a line, or the offset of a row of bytes in hexadecimal.
_POSITION = re.compile(r"@?[0-9a-f]+")
States = Iterable[FileState | None]


def leaves_of(state: FileState | None) -> Leaves | None:
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
    return leaves is not None and all(value in EMPTY or place.startswith("pragma/") for place, value in leaves)


def is_broken(state: FileState | None, models: States) -> str:
    """Why the content does not read as all its models do; `` if it does, or if the models do not tell."""
    if state is None or state.content is None or state.kind != "file":
        return ""
    contents = [model.content for model in models if model is not None and model.content is not None and model.size]
    if not contents or any(content.error or not content.form for content in contents):
        return ""
    forms = {content.form for content in contents}
    form = FORMS.get(contents[-1].form, contents[-1].form)
    if state.content.error:
        return f"can no longer be read as {form} ({state.content.error})"
    if state.content.form in _FOUND_BY_LOOKING and "text" in forms:
        return ""  # a record of a log that stands alone may look like a document
    if state.content.form and state.content.form not in forms and state.size and forms != {"bytes"}:
        return f"can no longer be read as {form} (it now looks like {FORMS.get(state.content.form, 'something else')})"
    return ""


def is_one_of(state: FileState | None, legal: States) -> bool:
    """Whether it is logically equal to one of these."""
    return any(same(state, one) for one in legal)


def is_extended(was: FileState | None, now: FileState | None) -> bool:
    """Whether all that stood there still does, with at most something appended: lines of text, or rows of bytes."""
    if was is None or now is None or was.content is None or now.content is None:
        return False
    before, after = dict(was.content.leaves), dict(now.content.leaves)
    if not before or not before.keys() <= after.keys() or not all(_POSITION.fullmatch(place) for place in before):
        return False
    last = max(before, key=lambda place: int(place.removeprefix("@"), 16))
    if not after[last].startswith(before[last]):
        return False
    return all(after[place] == value for place, value in before.items() if place != last)


def is_less(state: FileState | None, *others: FileState | None) -> bool:
    """Whether something is gone that all the others hold: fewer values at some place, fewer bytes of binary data."""
    if state is None or is_empty(state):
        return all(not is_empty(other) for other in others)
    bags: list[Counter[str]] = []
    for other in others:
        leaves = leaves_of(other)
        if other is None or leaves is None or not _alike(state.content, other.content):
            return False
        bags.append(_counts(leaves))
    mine = leaves_of(state)
    if mine is None or not bags:
        return False
    if state.content is not None and state.content.form == "bytes":
        return all(other is not None and state.size < other.size for other in others)
    return bool(_least(bags) - _counts(mine))


def is_between(state: FileState | None, low: FileState | None, high: FileState | None, known: States) -> bool:
    """Whether the content could be a step on the way from low to high.

    At each place there are no fewer values than in both and no more than in both, and each value was seen at that
    place in a clean run, or is a number between those of low and high.
    """
    leaves, lower, upper = leaves_of(state), leaves_of(low), leaves_of(high)
    if state is None or leaves is None or lower is None or upper is None:
        return False
    counts, bags = _counts(leaves), [_counts(lower), _counts(upper)]
    if _least(bags) - counts or counts - (bags[0] | bags[1]):
        return False
    return not unfamiliar(state, (*known, low, high), _numbers((*lower, *upper)))


def unfamiliar(state: FileState, known: States, numbers: dict[str, tuple[float, float]] | None = None) -> Leaves:
    """Leaves whose value no clean run had at that place; numbers: bounds within which any number there is familiar."""
    seen = {(general(place), value) for one in known for place, value in leaves_of(one) or ()}
    return tuple(
        (place, value)
        for place, value in leaves_of(state) or ()
        if (general(place), value) not in seen and not _within(value, (numbers or {}).get(general(place)))
    )


def with_torn_end(state: FileState | None, known: States) -> FileState | None:
    """The text without torn records, which a file that is appended to may hold: they are tolerated.

    A line that is only the beginning of a known line is left out; one that is such a beginning followed by a known line
    (the next run went on writing there) counts as that line.
    """
    if state is None or state.content is None or state.content.form != "text" or not is_comparable(state.content):
        return state
    whole = {value for one in known for _, value in leaves_of(one) or ()}
    kept = [found for _, value in state.content.leaves if (found := _untorn(value, whole)) is not None]
    leaves = tuple(sorted((str(number), value) for number, value in enumerate(kept, 1)))
    content = Content(form="text", leaves=leaves, count=len(leaves))
    return FileState(path=state.path, size=state.size, mode=state.mode, content=content)


def _untorn(line: str, whole: set[str]) -> str | None:
    if line in whole:
        return line
    if any(one.startswith(line) for one in whole):
        return None
    for one in whole:
        head = line[: len(line) - len(one)]
        if one and line.endswith(one) and any(other.startswith(head) for other in whole):
            return one
    return line


def is_growing(versions: States) -> bool:
    """Whether each version holds all that the one before it held (at least two versions that hold something)."""
    bags = []
    for version in versions:
        leaves = leaves_of(version)
        if leaves is None:
            return False
        if leaves:
            bags.append(_bag(leaves))
    return len(bags) > 1 and all(not one - other for one, other in pairwise(bags))


def holds_all_of(state: FileState | None, other: FileState | None) -> bool:
    """Whether every value of the other is there too, at a place of the same name."""
    mine, theirs = leaves_of(state), leaves_of(other)
    return mine is not None and theirs is not None and not _bag(theirs) - _bag(mine)


def holds_share_of(state: FileState | None, other: FileState | None, share: float) -> bool:
    """Whether at least this share of the other's values is there too, at places of the same name."""
    mine, theirs = leaves_of(state), leaves_of(other)
    if not mine or not theirs:
        return False
    wanted = _bag(theirs)
    return (wanted & _bag(mine)).total() >= share * wanted.total()


def _bag(leaves: Leaves) -> Counter[tuple[str, str]]:
    return Counter((general(place), value) for place, value in leaves if value not in EMPTY)


def _alike(one: Content | None, other: Content | None) -> bool:
    return one is not None and other is not None and one.form == other.form


def _counts(leaves: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(general(place) for place, value in leaves if value not in EMPTY)


def _least(bags: list[Counter[str]]) -> Counter[str]:
    least = bags[0]
    for bag in bags[1:]:
        least = least & bag
    return least


def _numbers(leaves: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for place, value in leaves:
        number = number_of(value)
        if number is not None:
            low, high = found.get(general(place), (number, number))
            found[general(place)] = min(low, number), max(high, number)
    return found


def number_of(value: str) -> float | None:
    try:
        return float(value.strip("\"'"))
    except ValueError:
        return None


def _within(value: str, bounds: tuple[float, float] | None) -> bool:
    number = number_of(value)
    return bounds is not None and number is not None and bounds[0] <= number <= bounds[1]
