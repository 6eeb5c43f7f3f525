"""Evidence in sentences that a stranger understands: which file, what should be there, what is."""

from __future__ import annotations

import re

from blackstart.core.reading import FileState
from blackstart.core.units import plural
from blackstart.oracles.compare import is_empty, leaves_of
from blackstart.oracles.showing import apart, short, short_bytes

_ROW_BYTES = 16  # as the content is read
AT_ITS_END = "when it had ended"
AFTER_CUT = "after the cut"
AFTER_RESTART = "after the restart"


def difference(path: str, seen: FileState | None, expected: FileState | None, why: str = "", *, when: str = "") -> str:
    """One sentence: what is there, what should be, and where they differ first; when: of which moment it tells."""
    text = _difference(path, seen, expected, why)
    return f"{when} {text}" if when else text


def _difference(path: str, seen: FileState | None, expected: FileState | None, why: str) -> str:
    if "link" in (seen.kind if seen else "", expected.kind if expected else ""):
        return f"{path} is {_what(seen)}; clean runs leave {_what(expected)}"
    if seen is None:
        return f"{path} is missing; clean runs leave {amount(expected)} in it"
    if why:
        return f"{path} {why}; it has {plural(seen.size, 'byte')}, clean runs leave {amount(expected)}"
    if expected is None:
        return f"{path} is there with {amount(seen)}; clean runs leave no such file"
    if is_empty(seen):
        return f"{path} is empty; clean runs leave {amount(expected)} in it"
    place, have, want = _first_difference(seen, expected)
    have_much, want_much = amount(seen), amount(expected)
    start = f"{path} holds {have_much}, clean runs leave {want_much}"
    if have_much == want_much:
        start = f"{path} holds other content than clean runs leave ({want_much} in both)"
    if have or want:
        return f"{start}; first difference at {place}: {have} instead of {want}"
    return f"{start}; first difference at {place}" if place else start


def _what(state: FileState | None) -> str:
    """What an entry is, where it may be a link."""
    if state is None:
        return "missing"
    return f"a link to {state.target}" if state.kind == "link" else f"a {state.kind}"


def short_line(line: str) -> str:
    """A line of output, quoted, and cut where it is long."""
    return f"'{short(line, 80)}'"


def amount(state: FileState | None) -> str:
    """How much is in a file: rows, lines, values or bytes."""
    if state is None:
        return "no file"
    content = state.content
    if content is None or not content.form or content.error or content.form == "bytes":
        return plural(state.size, "byte")
    if content.form == "sqlite":
        return plural(len({place.rsplit("/", 1)[0] for place, _ in content.leaves if place.count("/") == 2}), "row")
    return plural(content.count, "line" if content.form == "text" else "value")


def _first_difference(seen: FileState, expected: FileState) -> tuple[str, str, str]:
    """Where, what is there, and what should be; the latter two empty where they are not known."""
    if seen.content is not None and expected.content is not None and seen.content.error and expected.content.error:
        # No clean run's reads as what its name says either: what is known of it are its bytes.
        return _first_byte(dict(seen.content.leaves), dict(expected.content.leaves))
    have, want = dict(leaves_of(seen) or ()), dict(leaves_of(expected) or ())
    places = [place for place in have.keys() | want.keys() if have.get(place) != want.get(place)]
    if not places or seen.content is None:
        return "", "", ""
    if seen.content.form == "bytes":
        return _first_byte(have, want)
    place = min(places, key=_natural)
    shown = f"line {place}" if seen.content.form == "text" else place
    empty = "an empty line" if seen.content.form == "text" else "''"
    mine, other, sign = apart(have.get(place), want.get(place))
    return shown + (f", character {sign}" if sign else ""), mine or empty, other or empty


def _first_byte(have: dict[str, str], want: dict[str, str]) -> tuple[str, str, str]:
    """The same of rows of bytes; of blocks, of which only digests are known, and of masked rows, no more than where."""
    places = [place for place in have.keys() | want.keys() if have.get(place) != want.get(place)]
    offsets = sorted(int(place[1:], 16) for place in places if place.startswith("@"))
    if not offsets:
        return "", "", ""
    at = offsets[0]
    mine, other = (_row(rows, at) for rows in (have, want))
    if mine is None or other is None:
        return f"byte {at} or a little after it", "", ""
    same = next((k for k, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), min(len(mine), len(other)))
    whole = all(len(_following(rows, 0)) > _ROW_BYTES * (len(rows) - 1) for rows in (have, want))
    mine, other = (_following(rows, at)[same:] for rows in (have, want))
    is_counted = whole and len(mine) == len(other)
    many = sum(a != b for a, b in zip(mine, other, strict=False)) if is_counted else 0
    counted = f" ({many} bytes differ)" if many > 1 else ""
    return f"byte {at + same}", short_bytes(mine) or "the end", (short_bytes(other) or "the end") + counted


def _row(rows: dict[str, str], at: int) -> bytes | None:
    """A row of bytes, empty behind the end; None where it is masked, or only the digest of a block."""
    if "@1000" in rows and "@10" not in rows:
        return None
    try:
        return bytes.fromhex(rows.get(f"@{at:x}", ""))
    except ValueError:
        return None


def _following(rows: dict[str, str], at: int) -> bytes:
    """The bytes from a row on, as far as they are known, so that a long run can be counted."""
    found = b""
    while row := _row(rows, at):
        found, at = found + row, at + len(row)
    return found


def _natural(place: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", place) if part]
