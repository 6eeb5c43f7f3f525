"""Durations and sizes as people write them: `2m`, `1h30m`, `50ms`, `64MB`.

Parsing gives plain numbers (seconds as float, bytes as int), so that nothing else needs to know about units.
What `format_*` writes, `parse_*` reads back. Sizes are decimal (`1MB` = 1,000,000 bytes) unless they say
otherwise (`1MiB`), because file sizes and limits are given to us by people, not by page tables.
"""

from __future__ import annotations

import re
from decimal import Decimal

from blackstart.core.errors import BlackstartError

_DURATIONS = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_SIZES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SIZES_BY_FOLDED = {name.lower(): factor for name, factor in _SIZES.items()}

_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-z]+)")
_BARE = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")


class UnitError(BlackstartError):
    """A duration or a size that cannot be read; the message shows forms that can."""


def parse_duration(text: str, *, bare: str = "") -> float:
    """Seconds in `text`: parts from large to small, each once, as in `1h30m` or `50ms`.

    bare: the unit of a number without one (`""`: such a number is refused).
    """
    wanted = text.strip()
    if bare and _BARE.fullmatch(wanted):
        wanted += bare
    total, at, smallest = Decimal(0), 0, Decimal("Infinity")
    while part := _PART.match(wanted, at):
        factor = _DURATIONS.get(part[2])
        if factor is None:
            raise _bad_duration(f"no unit of time {part[2]!r} in {text!r}", bare)
        if factor >= smallest:
            raise _bad_duration(f"the units of {text!r} do not go from large to small", bare)
        total, at, smallest = total + Decimal(part[1]) * factor, part.end(), factor
    if at == 0 or at < len(wanted):
        what = f"{text!r} has no unit" if _BARE.fullmatch(wanted) else f"{text!r} is not a duration"
        raise _bad_duration(what, bare)
    return float(total)


def _bad_duration(what: str, bare: str) -> UnitError:
    number = f", or a number alone ({bare})" if bare else ""
    return UnitError(what, next_step=f"write it like 50ms, 2s, 2m or 1h30m{number}")


def format_duration(seconds: float) -> str:
    """The shortest form down to microseconds: `1h30m`, `2m`, `1.5s`, `50ms`, `0s`."""
    assert seconds >= 0, seconds
    microseconds = round(Decimal(repr(seconds)) * 1_000_000)
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}us"
    if microseconds < 1_000_000:
        return f"{_plain(Decimal(microseconds) / 1_000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    return "".join(parts) + (f"{_plain(Decimal(rest) / 1_000_000)}s" if rest else "")


def parse_size(text: str) -> int:
    """Bytes in `text`: `64MB`, `1.5 GiB`, `4096`; the case of the unit does not matter."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UnitError(f"{text!r} is not a size", next_step="write it like 4096, 64MB or 1.5GiB")
    factor = _SIZES_BY_FOLDED.get((found[2] or "B").lower())
    if factor is None:
        raise UnitError(f"no unit of size {found[2]!r} in {text!r}", next_step=f"units are {', '.join(_SIZES)}")
    size = Decimal(found[1]) * factor
    if size != int(size):
        raise UnitError(f"{text!r} is not a whole number of bytes", next_step="write it like 4096, 64MB or 1.5GiB")
    return int(size)


def format_size(size: int) -> str:
    """The largest decimal unit that leaves at most three digits after the point exact, else plain bytes."""
    assert size >= 0, size
    for unit in ("TB", "GB", "MB", "kB"):
        value = Decimal(size) / _SIZES[unit]
        if value >= 1 and value == round(value, 3):
            return f"{_plain(value)}{unit}"
    return f"{size}B"


def _plain(value: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plural(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
