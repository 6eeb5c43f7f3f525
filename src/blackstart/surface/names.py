"""Run-specific parts of file names (pid, date, uuid, counter, mkstemp's suffix) from two clean runs of one start.

A rule is learned from a name that one run had and the other had not, or from one that tells the moment of its own run,
in both runs alike; it holds in that directory alone. Files whose names differ in the moment alone are of one kind, an
older one too: they come and go, and which of them is meant cannot be told. Rules are ordered from the top of the tree
down, so each sees its directory already masked. They never match a `*`, which makes masking idempotent; a name that
itself contains a `*` therefore gets no rule. So it is with ports that the kernel gives to whoever asks for none: a
service that takes datagrams sends its answers there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product

from blackstart.surface.moment import Moment, cut, shape, spans

Rule = tuple[str, str]
_PAIRS = 200
# Of suffixes of temporary files, ids and digests in hexadecimal.
_LENGTHS = (6, 8, 10, 12, 16, 24, 26, 32, 36, 40, 64)
_RANDOM = re.compile(r"[A-Za-z0-9_-]+")
# The kernel's own choice: 32768 to 60999.
_GIVEN = "(?:3276[89]|327[7-9][0-9]|32[89][0-9]{2}|3[3-9][0-9]{3}|[45][0-9]{4}|60[0-9]{3})"
_BY_CHANCE = 10
_SOCKET = re.compile(f"(socket:inet6?:.+:){_GIVEN}")


def name_rules(
    one: Iterable[str], other: Iterable[str], used: Sequence[Iterable[str]] = (), moments: Sequence[Moment] = ()
) -> tuple[Rule, ...]:
    """(regular expression, replacement) pairs for paths in which the runs differ, or tell their moments.

    used: per run the paths that it used, which alone can tell its moment; moments: when the runs took place, or ().
    """
    rules: list[Rule] = []
    sets = [set(one), set(other), *(set(paths) for paths in used)]
    level = 1
    while level <= max((path.count("/") for path in sets[0] | sets[1]), default=0) + 1:
        found = _telling_at(sets[2:], moments, level)
        _apply(found, sets)
        rules += found
        found = _rules_at(_children(sets[0], level), _children(sets[1], level))
        _apply(found, sets)
        rules += found
        level += 1
    return (*rules, *_given_ports(sets[0], sets[1]))


def _given_ports(one: set[str], other: set[str]) -> Iterable[Rule]:
    """A rule for each address of which either run knew such ports, and none that the other knew, too, but by chance."""
    given = [Counter(found[1] for path in paths if (found := _SOCKET.fullmatch(path))) for paths in (one, other)]
    both = Counter(found[1] for path in one & other if (found := _SOCKET.fullmatch(path)))
    for head in sorted(given[0].keys() & given[1].keys()):
        if both[head] * _BY_CHANCE < given[0][head] + given[1][head]:
            yield f"^{re.escape(head)}{_GIVEN}$", f"{head}*"


def _apply(rules: Iterable[Rule], sets: list[set[str]]) -> None:
    """Mask all paths by these rules, in place."""
    for pattern, replacement in rules:
        compiled = re.compile(pattern)
        for at, paths in enumerate(sets):
            sets[at] = {compiled.sub(lambda _, text=replacement: text, path, count=1) for path in paths}  # type: ignore[misc]


def _telling_at(used: Sequence[Iterable[str]], moments: Sequence[Moment], level: int) -> list[Rule]:
    """Rules for names at one depth that tell the moment of the run which used them, of one kind in both runs."""
    found = [
        {name: None for path in sorted(paths) for name in _telling(path, moment, level)}
        for paths, moment in zip(used, moments, strict=False)
    ]
    if len(found) != 2:
        return []
    both = [name for name in found[0] if name in found[1]]
    lone = ([name for name in names if name not in both][:_PAIRS] for names in found)
    rules = dict.fromkeys(rule for name in both if (rule := _rule_of(name, name)))
    for one, other in product(*lone):
        if rule := _rule_of(one, other):
            rules[rule] = None
    return list(rules)


# A name that tells a moment: the directory, and its pieces, those at odd positions being the shapes of what tells it.
Telling = tuple[str, ...]


def _telling(path: str, moment: Moment, level: int) -> Iterable[Telling]:
    """The name at this depth, and those after it through which a date goes on (`2026/01/31`)."""
    segments = path.split("/")
    if len(segments) <= level or "*" in segments[level]:
        return
    begin = len("/".join(segments[:level])) + 1
    end = begin + len(segments[level])
    parts = [part for part in spans(path, moment, is_name=True) if begin <= part[0] < end]
    if not parts:
        return
    stop = path.find("/", max(end, parts[-1][1]))
    stop = len(path) if stop < 0 else stop
    pieces = cut(path[begin:stop], [(start - begin, until - begin) for start, until in parts])
    told = (shape(piece) if odd % 2 else piece for odd, piece in enumerate(pieces))
    yield (path[:begin], *told)


def _rule_of(one: Telling, other: Telling) -> Rule | None:
    """The rule for two names that tell their moments alike, and else are equal or of one kind; None where they are not.

    What is random beside a time (`20260131-0915-c3b70a.json`) must not hide the time: it would not be masked then.
    """
    if len(one) != len(other) or one[0] != other[0] or one[2::2] != other[2::2]:
        return None
    pattern, masked = f"^{re.escape(one[0])}", one[0]
    for odd, (mine, theirs) in enumerate(zip(one[1:], other[1:], strict=True)):
        if odd % 2:
            pattern, masked = pattern + mine, masked + re.sub("[^/]+", "*", mine)
        elif mine == theirs:
            pattern, masked = pattern + re.escape(mine), masked + mine
        elif (found := _segment(mine, theirs, set())) is not None:
            pattern, masked = pattern + found[0], masked + found[1]
        else:
            return None
    return f"{pattern}(?=/|$)", masked


def _children(paths: Iterable[str], level: int) -> dict[str, set[str]]:
    """Directory -> names in it, at one depth of the tree."""
    children: dict[str, set[str]] = {}
    for path in paths:
        segments = path.split("/")
        if len(segments) > level:
            children.setdefault("/".join(segments[:level]), set()).add(segments[level])
    return children


def _rules_at(one: dict[str, set[str]], other: dict[str, set[str]]) -> list[tuple[str, str]]:
    rules: dict[tuple[str, str], None] = {}
    for parent in sorted(one.keys() & other.keys()):
        stable = one[parent] & other[parent]
        lone = sorted(one[parent] - stable)[:_PAIRS], sorted(other[parent] - stable)[:_PAIRS]
        for first in lone[0]:
            if any(re.fullmatch(p, f"{parent}/{first}") for p, _ in rules):
                continue
            for second in sorted(lone[1], key=lambda name: (-_common(first, name), name)):
                found = _segment(first, second, stable)
                if found:
                    head = f"^{re.escape(parent)}/"
                    rules[f"{head}{found[0]}(?=/|$)", f"{parent}/{found[1]}"] = None
                    break
    return list(rules)


def _common(one: str, other: str) -> int:
    prefix = _alike(one, other)
    return prefix + _alike(one[prefix:][::-1], other[prefix:][::-1])


def _alike(one: str, other: str) -> int:
    """The length of the common beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _segment(one: str, other: str, stable: set[str]) -> tuple[str, str] | None:
    """(regular expression, masked name) for two names of one kind; None if they are not of one kind."""
    if "*" in one + other:
        return None
    start = _alike(one, other)
    end = _alike(one[start:][::-1], other[start:][::-1])
    middles = one[start : len(one) - end], other[start : len(other) - end]
    if all(middle.isdigit() or not middle for middle in middles):
        start, end = _whole_number(one, start, end)
        kind = "[0-9]+"
    else:
        start, end = _whole_suffix(one, other, start, end)
        kind = f"[A-Za-z0-9_-]{{{len(one) - start - end}}}" if len(one) == len(other) else "[A-Za-z0-9_-]+"
    middles = one[start : len(one) - end], other[start : len(other) - end]
    if not all(_RANDOM.fullmatch(middle) for middle in middles):
        return _several(one, other, stable)
    pattern = re.escape(one[:start]) + kind + re.escape(one[len(one) - end :])
    if any(re.fullmatch(pattern, name) for name in stable):
        return None
    return pattern, f"{one[:start]}*{one[len(one) - end :]}"


def _whole_number(name: str, start: int, end: int) -> tuple[int, int]:
    while start and name[start - 1].isdigit():
        start -= 1
    while end and name[-end].isdigit():
        end -= 1
    return start, end


def _whole_suffix(one: str, other: str, start: int, end: int) -> tuple[int, int]:
    """Random letters may agree by chance at either end: go back to a sign, or to a usual length."""
    while end and _RANDOM.match(one[-end]):
        end -= 1
    length = max(len(one), len(other)) - start - end
    wanted = next((usual for usual in _LENGTHS if usual >= length), length)
    if length >= 4 and wanted - length <= 2:
        while start and length < wanted and _RANDOM.match(one[start - 1]):
            start, length = start - 1, length + 1
    return start, end


def _several(one: str, other: str, stable: set[str]) -> tuple[str, str] | None:
    """Several differing parts between equal signs, such as a date and a time."""
    parts = re.split(r"([^A-Za-z0-9]+)", one), re.split(r"([^A-Za-z0-9]+)", other)
    if len(parts[0]) != len(parts[1]) or parts[0][1::2] != parts[1][1::2]:
        return None
    pattern, masked = "", ""
    for first, second in zip(*parts, strict=True):
        numeric = first.isdigit() and second.isdigit()
        pattern += re.escape(first) if first == second else "[0-9]+" if numeric else "[A-Za-z0-9]+"
        masked += first if first == second else "*"
    return None if any(re.fullmatch(pattern, name) for name in stable) else (pattern, masked)
