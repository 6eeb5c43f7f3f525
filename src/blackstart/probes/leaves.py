"""Nested values as flat (place, value) leaves.

Values keep their written form (a string is quoted, a number is as written), so that `1` and `"1"` differ. An empty
list or table is a leaf of its own: emptied and missing are different things. Iterative, because a hostile
file may nest as deep as it likes; and limited, because it may be as long as it likes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from blackstart.core.reading import Leaves

LIMIT = 50_000


class Number(str):
    """A number as it was written; no parser's rounding, no limit on digits."""


def flatten(value: object) -> Iterator[tuple[str, str]]:
    """All leaves of nested dictionaries and lists."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, dict) and item:
            waiting.extend((f"{place}/{_segment(key)}", below) for key, below in item.items())
        elif isinstance(item, list | tuple) and item:
            waiting.extend((f"{place}/{position}", below) for position, below in enumerate(item))
        else:
            yield place or "/", _written(item)


def limited(leaves: Iterable[tuple[str, str]], limit: int = LIMIT) -> tuple[Leaves, int]:
    """Sorted leaves and their number; no leaves when there are more than the limit."""
    iterator = iter(leaves)
    kept = list(islice(iterator, limit))
    more = sum(1 for _ in iterator)
    return ((), limit + more) if more else (tuple(sorted(kept)), len(kept))


def _segment(key: object) -> str:
    text = key if isinstance(key, str) else repr(key)
    return text.encode("utf-8", "backslashreplace").decode().replace("/", "~1")


def _written(item: object) -> str:
    if isinstance(item, Number):
        return str(item)
    if isinstance(item, str | int | float | bool | None | dict | list):
        return json.dumps(item)
    return str(item)  # dates and times of TOML and YAML
