"""Durations, sizes and numbers of things as people write them: `2m`, `1h30m`, `50ms`, `64 MB`, `2 runs`.

Parsing gives plain numbers (seconds as float), so that nothing else needs to know about units. What `format_duration`
writes, `parse_duration` reads back. A size is only ever shown, in three digits: what is exact about it stands in plans.
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
_SIZES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# What is smaller is easier to compare byte by byte.
_PLAIN_BYTES = 10_000
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-z]+)")
_BARE = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


class UnitError(BlackstartError):
    """A duration that cannot be read; the message shows forms that can."""


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


def format_size(size_bytes: int) -> str:
    """`216 bytes`, `12.3 kB`, `187 MB`: in three digits from some thousands on, in decimal units."""
    assert size_bytes >= 0, size_bytes
    if size_bytes < _PLAIN_BYTES:
        return plural(size_bytes, "byte")
    unit, factor = next((one for one in _SIZES.items() if size_bytes < 999.5 * one[1]), ("TB", _SIZES["TB"]))
    return f"{size_bytes / factor:.3g} {unit}"


def _plain(value: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plural(number: int, noun: str, many: str = "") -> str:
    """`1 run`, `2 runs`; many: of a noun that has another plural, `2 policies`."""
    return f"{number} {noun if number == 1 else many or f'{noun}s'}"
