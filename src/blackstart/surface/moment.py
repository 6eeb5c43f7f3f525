"""Parts of a text that tell the moment of the run which wrote it: epoch numbers, dates and times of day.

Two clean runs lie seconds apart, so `backup-20260101-1200.json` has one name in both, and another one a minute later.
What a run derives from its clock therefore cannot be learnt from how the runs differ. It is recognised by its value:
a part is the run's own only if it names a moment between the run's begin and end, as precisely as it is written. A
constant that looks like a date but names another day is none, and is compared as ever.

Hours and minutes without a colon count only in names: in a text `1405` is more often a number of something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

import msgspec

SLACK_S = 2.0
_DAY_S = 86_400.0
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_FIELDS = {"Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d", "d": r"\d\d", "e": r"\d{1,2}",
           "b": "(?i:" + "|".join(_MONTHS) + ")[a-z]{0,6}"}  # fmt: skip
_CLOCK = (r"(?P<H>\d\d)(?P<s>[:._h-]?)(?P<M>\d\d)(?:(?P=s)(?P<S>\d\d)(?:[.,]\d{1,9})?)?(?: ?(?P<p>[AaPp][Mm])\b)?"
          r"(?P<z>Z| ?UTC| ?GMT| ?[+-][01]\d:?\d\d(?![0-9A-Za-z]))?")  # fmt: skip
_TIME_OF_DAY = _CLOCK.replace("[:._h-]?", ":").replace(r"(?P<H>\d\d)", r"(?P<H>\d{1,2})")
_WEEKDAY = "(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?"
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y_%m_%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y",
          "%m-%d-%Y", "%d_%m_%Y", f"{_WEEKDAY}%e[ /-]%b[ /-]%Y", f"{_WEEKDAY}%b +%e,? %Y", "%y%m%d")  # fmt: skip
_EPOCH_SCALES = {10: 1.0, 13: 1e3, 16: 1e6, 19: 1e9}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When a run took place, in seconds since 1970, and the time zones it may write in, in seconds east of UTC."""

    began_s: float
    ended_s: float
    zones_s: tuple[int, ...] = (0,)


def _template(text: str) -> str:
    return re.sub("%(.)", lambda found: f"(?P<{found[1]}>{_FIELDS[found[1]]})", text)


_PATTERNS = (
    re.compile(rf"(?<![\dA-Za-z]){_WEEKDAY}{_template('%b +%e ')}{_TIME_OF_DAY}(?: (?P<Y>\d{{4}}))?(?!\d)"),
    *(re.compile(rf"(?<![\d]){_template(date)}(?:(?:[T _.@:/-]|, | at |__|--| - ){_CLOCK})?(?!\d)") for date in _DATES),
    re.compile(rf"(?<![\d:.-]){_TIME_OF_DAY}(?![\d:])"),
    re.compile(r"(?<!\d)(?P<Y>\d{4})(?P<s>[-_/.]?)(?P<m>\d\d)(?![\d]|[-_/.]\d)"),
)
_IN_NAMES = re.compile(r"(?<!\d)(?P<H>\d\d)(?P<s>[._h-]?)(?P<M>\d\d)(?!\d)")
_EPOCH = re.compile(r"(?<!\d)(?<!\d\.)(\d{10}|\d{13}|\d{16}|\d{19})(?:\.\d+)?(?!\d|\.\d)")


def spans(text: str, moment: Moment, *, is_name: bool = False) -> list[tuple[int, int]]:
    """(start, end) of the parts that tell the moment, in order, none overlapping another."""
    if not is_name and not any(needle in text for needle in _needles(moment)):
        return []
    found: list[tuple[int, int]] = []
    for start, end in _candidates(text, moment, is_name):
        if all(end <= other[0] or start >= other[1] for other in found):
            found.append((start, end))
    return sorted(found)


def _candidates(text: str, moment: Moment, is_name: bool) -> Iterator[tuple[int, int]]:
    for number in _EPOCH.finditer(text):
        if _overlaps(float(number[0]) / _EPOCH_SCALES[len(number[1])], 1.0, moment):
            yield number.span()
    for pattern in (*_PATTERNS, _IN_NAMES) if is_name else _PATTERNS:
        at = 0
        while match := pattern.search(text, at):
            end = next((end for end, fields in _readings(match, is_name) if _is_told(fields, moment)), 0)
            if end:
                yield match.start(), end
            at = end or match.start() + 1


def _readings(match: re.Match[str], is_name: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """(end, fields) of what it may mean: the whole, or in a name the date alone, as what follows may be a number."""
    fields = {name: value for name, value in match.groupdict().items() if value is not None}
    yield match.end(), fields
    date = {name: value for name, value in fields.items() if name in _FIELDS}
    if is_name and "H" in fields and ("d" in date or "e" in date):
        yield max(match.end(name) for name in date), date


def tells(text: str, moment: Moment) -> bool:
    """Whether the whole text, quotation marks aside, is one such part."""
    plain = text.strip("\"'")
    return spans(plain, moment) == [(0, len(plain))] if plain else False


def shape(part: str) -> str:
    """A regular expression without groups for a part that tells another moment in the same way."""
    return "".join(_shape_of(piece) for piece in re.findall(r"[.,][0-9]+|[0-9]+|[A-Za-z]+|[^0-9A-Za-z]", part))


def _shape_of(piece: str) -> str:
    if piece[0] in ".," and len(piece) > 1:
        return f"{re.escape(piece[0])}[0-9]+"  # a fraction, written as long as it happens to be
    if piece.isdigit():
        return "[0-9]{1,2}" if len(piece) <= 2 else f"[0-9]{{{len(piece)}}}"
    return "[A-Za-z]+" if piece.isalpha() and len(piece) > 1 else re.escape(piece)


def cut(text: str, parts: Iterable[tuple[int, int]]) -> list[str]:
    """The text in pieces: those at odd positions are the parts."""
    pieces, at = [], 0
    for start, end in parts:
        pieces += [text[at:start], text[start:end]]
        at = end
    return [*pieces, text[at:]]


@lru_cache(maxsize=64)
def _needles(moment: Moment) -> frozenset[str]:
    """Texts of which each such part holds one: cheap to look for."""
    found = {str(int(at))[:5] for at in (moment.began_s - SLACK_S, moment.ended_s + SLACK_S)}
    for offset in moment.zones_s:
        at_s = moment.began_s - SLACK_S
        while at_s < moment.ended_s + SLACK_S + 3600:
            local = _local(at_s, offset)
            found |= {f"{local:%Y}", f"{local:%y%m%d}", f"{local:%H}:", f"{local.hour}:", f"{local:%I}:"}
            found.add(f"{local.hour % 12 or 12}:")
            at_s += 3600
    return frozenset(found)


def _local(at_s: float, offset_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, timezone(timedelta(seconds=offset_s)))


def _is_told(fields: dict[str, str], moment: Moment) -> bool:
    """Whether the fields name a moment of the run; what a format leaves out is taken from the run's own clock."""
    zones = moment.zones_s
    if "z" in fields:
        zones = (_offset_s(fields["z"].strip()),)
    for offset in zones:
        for now in {_local(at, offset).date() for at in (moment.began_s - SLACK_S, moment.ended_s + SLACK_S)}:
            try:
                told = _told(fields, datetime(now.year, now.month, now.day), offset)
            except (ValueError, OverflowError):
                continue
            if _overlaps(told, _precision_s(fields), moment):
                return True
    return False


def _told(fields: dict[str, str], now: datetime, offset_s: int) -> float:
    year = int(fields["Y"]) if "Y" in fields else 2000 + int(fields["y"]) if "y" in fields else now.year
    is_month = "m" in fields and "d" not in fields and "e" not in fields
    month = int(fields["m"]) if "m" in fields else now.month
    if "b" in fields:
        month = _MONTHS.index(fields["b"][:3].lower()) + 1
    day = 1 if is_month else int(fields.get("d") or fields.get("e") or now.day)
    hour = int(fields.get("H", 0))
    if "p" in fields:
        hour = hour % 12 + (12 if fields["p"].lower() == "pm" else 0)
    at = datetime(year, month, day, hour, int(fields.get("M", 0)), int(fields.get("S", 0)), tzinfo=UTC)
    return at.timestamp() - offset_s


def _precision_s(fields: dict[str, str]) -> float:
    if "S" in fields:
        return 1.0
    if "M" in fields:
        return 60.0
    return _DAY_S if "d" in fields or "e" in fields else 28 * _DAY_S


def _offset_s(zone: str) -> int:
    if zone[0] not in "+-":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60)


def _overlaps(told_s: float, precision_s: float, moment: Moment) -> bool:
    return told_s <= moment.ended_s + SLACK_S and told_s + precision_s > moment.began_s - SLACK_S
