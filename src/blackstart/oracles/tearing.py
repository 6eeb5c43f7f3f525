"""Is a value torn: a hole, the beginning of a value that clean runs had there, or one such value written over another?

A write that was cut off over older content leaves bytes of both, each where it stood: so a mixture is one only if what
is new comes first, what is old stands where it stood, and the whole is as long as the old. Other values that share a
beginning with one and an end with another (two words of a line) are a program's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from blackstart.core.masking import general
from blackstart.core.reading import FileState
from blackstart.oracles.compare import leaves_of, number_of, unfamiliar
from blackstart.oracles.showing import short, short_bytes

_ROW_BYTES, _ALIKE_MIN, _LOOKED_AT_MAX = 16, 4, 200
_ZEROS_MIN = 16  # so many zero bytes in a row, and more than clean runs ever wrote
_HOLE = "a hole of zeros"
_BEGINNING = "only a part of a value"
_MIXTURE = "a mixture of two values, one written over the other"
_ZEROS = re.compile(r"(?:00)+")


def torn(state: FileState, known: Iterable[FileState | None]) -> str:
    """A sentence if a value is a piece, or a mixture, of values that clean runs had at that place; else ``."""
    strange = unfamiliar(state, known := tuple(known))
    if not strange:
        return ""
    models: dict[str, set[str]] = {}
    for one in known:
        for place, value in leaves_of(one) or ():
            models.setdefault(general(place), set()).add(value)
    form = state.content.form if state.content is not None else ""
    if form == "bytes" and state.content is not None and state.size > _ROW_BYTES * state.content.count:
        return ""  # its leaves are digests of blocks, of which no piece says anything
    has_hole = form == "bytes" and _zeros(state) > max((_ZEROS_MIN - 1, *(_zeros(one) for one in known)))
    for place, value in strange[:_LOOKED_AT_MAX]:
        seen = models.get(general(place), set())
        piece = _of_row(value, seen, has_hole=has_hole) if form == "bytes" else _of_value(value, seen)
        if piece:
            return f"{_where(form, place)} stands {piece}{_shown(form, value, piece)}"
    return _of_text(state, known, strange[0][0]) if form == "text" else ""


def _where(form: str, place: str) -> str:
    if form == "bytes":
        return f"at byte {int(place.removeprefix('@'), 16)}"
    return f"in line {place}" if form == "text" else f"at {place}"


def _shown(form: str, value: str, piece: str) -> str:
    if form == "bytes":
        return "" if piece == _HOLE else f": {short_bytes(bytes.fromhex(value))}"
    return f": {short(value) if value.strip() else repr(value)}"


def _of_value(value: str, models: set[str]) -> str:
    """What of known values this one is, in words; `` if it is none."""
    if number_of(value) is not None:
        return ""
    plain = value.strip("\"'")
    if "\0" in plain or (plain and not plain.strip("0") and len(plain) > _ROW_BYTES):
        return _HOLE
    if not plain:
        return ""  # an empty value may be meant
    return _piece(plain, [model.strip("\"'") for model in models])


def _of_row(row: str, models: set[str], *, has_hole: bool) -> str:
    """The same of a row of bytes in hexadecimal, byte by byte: half a byte is no piece of anything."""
    if len(row) > _ROW_BYTES and not row.strip("0"):
        return _HOLE if has_hole else ""
    if "*" in row:
        return ""  # masked
    plain, *whole = (bytes.fromhex(one) for one in (row, *models) if "*" not in one)
    new = max((_alike_length(plain, model) for model in whole), default=0)
    if not has_hole and plain[new:] and not any(plain[new:]):
        return ""  # a field that is empty now: behind a write that was cut off stands a longer run of zeros
    return _piece(plain, whole)


def _piece(plain: str | bytes, whole: Sequence[str | bytes]) -> str:
    """Whether it is the beginning of a known value, or begins as one and goes on as another one stood there."""
    if any(model[: len(plain)] == plain and plain != model for model in whole):
        return _BEGINNING
    return _MIXTURE if _is_written_over(plain, whole) else ""


def _is_written_over(mixed: str | bytes, whole: Sequence[str | bytes]) -> bool:
    head = max((_alike_length(mixed, model) for model in whole), default=0)
    tails = (_alike_length(mixed[::-1], model[::-1]) for model in whole if len(model) == len(mixed))
    tail = max(tails, default=0)
    return head >= _ALIKE_MIN and tail >= _ALIKE_MIN and head + tail >= len(mixed)


def _of_text(state: FileState, known: Iterable[FileState | None], place: str) -> str:
    """The same of the text as a whole, as lines may be of other lengths in each; place: of the first strange line."""
    texts = [text for one in known if (text := _text(one))]
    mixed = _text(state)
    if len(mixed) == state.size and _is_written_over(mixed, texts):  # bytes and characters are the same
        return f"from line {place} on stands {_MIXTURE}"
    return ""


def _text(state: FileState | None) -> str:
    """The lines in their order; `` where they are not all known."""
    lines = leaves_of(state) or ()
    if not all(place.isdecimal() for place, _ in lines):
        return ""
    return "".join(f"{value}\n" for _, value in sorted(lines, key=lambda leaf: int(leaf[0])))


def _zeros(state: FileState | None) -> int:
    """The longest run of zero bytes, where the content is known by rows of bytes."""
    if state is None or state.content is None or state.content.form != "bytes":
        return 0
    rows = sorted(leaves_of(state) or (), key=lambda leaf: int(leaf[0].removeprefix("@"), 16))
    runs = (len(run[0]) // 2 for run in _ZEROS.finditer("".join(value for _, value in rows)))
    return max(runs, default=0)


def _alike_length(one: str | bytes, other: str | bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
