"""Nested values as flat (place, value) leaves.

Values keep their written form (a string is quoted, a number is as written), so that `1` and `"1"` differ. An empty
list or table is a leaf of its own: emptied and missing are different things. Iterative, because a hostile
file may nest as deep as it likes; and limited, because it may be as long as it likes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from blackstart.core.reading import Leaves

LIMIT = 50_000
PLACE_MAX = 4096
# Python refuses to write a longer number in decimal; TOML and YAML may give one in hexadecimal.
DECIMAL_BITS_MAX = 10_000


class Number(str):
    """A number as it was written; no parser's rounding, no limit on digits."""


def flatten(value: object) -> Iterator[tuple[str, str]]:
    """All leaves of nested dictionaries and lists."""
    waiting = [iter((("", value),))]
    while waiting:
        for place, item in waiting[-1]:
            if isinstance(item, dict | list | tuple) and item:
                waiting.append(_inside(place, item))
                break
            yield place or "/", _written(item)
        else:
            waiting.pop()


def _inside(place: str, item: dict[object, object] | Sequence[object]) -> Iterator[tuple[str, object]]:
    """One by one, since each of very many places may be long."""
    if isinstance(item, dict):
        return ((shortened(f"{place}/{_segment(key)}"), below) for key, below in item.items())
    return ((shortened(f"{place}/{position}"), below) for position, below in enumerate(item))


def shortened(place: str) -> str:
    """The place; a digest of one that is too long, as many leaves below a long name would repeat it many times."""
    if len(place) <= PLACE_MAX:
        return place
    return "…" + hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def limited(leaves: Iterable[tuple[str, str]], limit: int = LIMIT) -> tuple[Leaves, int]:
    """Sorted leaves and their number; no leaves when there are more than the limit."""
    iterator = ((shortened(place), value) for place, value in leaves)
    kept = list(islice(iterator, limit))
    more = sum(1 for _ in iterator)
    return ((), limit + more) if more else (tuple(sorted(kept)), len(kept))


def _segment(key: object) -> str:
    text = key if isinstance(key, str) else repr(key)
    return text.encode("utf-8", "backslashreplace").decode().replace("/", "~1")


def _written(item: object) -> str:
    if isinstance(item, Number):
        return str(item)
    if isinstance(item, int) and item.bit_length() > DECIMAL_BITS_MAX:
        return hex(item)
    if isinstance(item, str | int | float | bool | None | dict | list):
        return json.dumps(item)
    if isinstance(item, set):  # of YAML; its order is another one in each process
        return json.dumps(sorted(map(_written, item)))
    return str(item)  # dates and times of TOML and YAML
