"""Learning what a program does differently each time: from two (or more) clean runs of one start.

Only what differs between the runs is masked, never what merely looks like a date or a temporary name, with one
exception: a value that tells the moment of its own run would differ in the next second even if it did not now. What
cannot be made equal is hopeless: unknown, never failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from blackstart.core.calibration import Mask
from blackstart.core.masking import Masker, general, is_comparable, rooted, same
from blackstart.core.reading import Content, FileState, Image
from blackstart.surface.names import name_rules

STREAMS = ("stdout", "stderr", "check")
_LINE_PATTERNS = 50
_LEAF_PATTERNS = 400
_TOKEN = re.compile(r"[0-9A-Za-z]+|.", re.DOTALL)


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One clean run: the image after it, all paths its trace named, what it wrote and what `--check`
    then answered, and when it ran (seconds since 1970).
    """

    image: Image
    paths: frozenset[str] = frozenset()
    stdout: bytes = b""
    stderr: bytes = b""
    check: bytes = b""
    began_s: float = 0.0
    ended_s: float = 0.0


def learn(first: Observation, second: Observation, *, cwd: str, home: str) -> Mask:
    """The mask under which the two runs are equal, apart from what is listed as hopeless."""
    return extend(rooted(Mask(), cwd, home), first, second)


def extend(mask: Mask, first: Observation, second: Observation) -> Mask:
    """The mask with what else differs between two more runs of one start (null trials)."""
    masker = Masker(mask)
    one, other = ({masker(path) for path in (*run.image, *run.paths)} for run in (first, second))
    mask = msgspec.structs.replace(mask, names=(*mask.names, *name_rules(one, other)))
    masker = Masker(mask)
    images = masker.image(first.image), masker.image(second.image)
    leaves, lines, hopeless = dict(mask.leaves), dict(mask.lines), set(mask.hopeless)
    moments = [(run.began_s, run.ended_s) for run in (first, second) if run.ended_s]
    for path in sorted(images[0].keys() | images[1].keys()):
        found = _file_patterns(images[0].get(path), images[1].get(path), moments)
        if found is None:
            hopeless.add(path)
        else:
            leaves[path] = _joined(leaves.get(path, ()), found[0])
            lines[path] = _joined(lines.get(path, ()), found[1])
    for stream in STREAMS:
        texts = [masker.text(stream, getattr(run, stream)).split("\n") for run in (first, second)]
        patterns = line_patterns(*texts)
        if patterns is None:
            hopeless.add(stream)
        else:
            lines[stream] = _joined(lines.get(stream, ()), patterns)
    learned = Mask(
        names=mask.names,
        leaves={path: patterns for path, patterns in leaves.items() if patterns},
        lines={path: patterns for path, patterns in lines.items() if patterns},
        hopeless=frozenset(hopeless),
    )
    return _checked(learned, first, second)


def _checked(mask: Mask, first: Observation, second: Observation) -> Mask:
    """Whatever is still not equal under the mask is hopeless."""
    masker = Masker(mask)
    images = masker.image(first.image), masker.image(second.image)
    paths = images[0].keys() | images[1].keys()
    unequal = {path for path in paths if not same(images[0].get(path), images[1].get(path))}
    for stream in STREAMS:
        if masker.text(stream, getattr(first, stream)) != masker.text(stream, getattr(second, stream)):
            unequal.add(stream)
    return msgspec.structs.replace(mask, hopeless=mask.hopeless | unequal)


def _joined(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _file_patterns(
    one: FileState | None, other: FileState | None, moments: Sequence[tuple[float, float]]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(leaf patterns, line patterns) that make both equal; None where there are none."""
    if one is None or other is None or one.kind != other.kind:
        return None
    if one.kind != "file" or one.content is None or other.content is None:
        return ((), ()) if same(one, other) else None
    if not (is_comparable(one.content) and is_comparable(other.content)) or one.content.form != other.content.form:
        return ((), ()) if same(one, other) else None
    if one.content.form == "text":
        patterns = line_patterns([v for _, v in one.content.leaves], [v for _, v in other.content.leaves])
        return None if patterns is None else ((), patterns)
    if one.content.form == "bytes" and one.size != other.size:
        return None  # what stands where cannot be told
    found = leaf_patterns(one.content, other.content, moments)
    return None if found is None else (found, ())


def leaf_patterns(one: Content, other: Content, moments: Sequence[tuple[float, float]] = ()) -> tuple[str, ...] | None:
    """Patterns of differing leaves: masked values, run-specific keys (`~`), leaves of one run only (`!`)."""
    found: list[str] = []
    for _ in range(8):  # a key may be run-specific below a run-specific key: one level more each time
        masker = Masker(Mask(leaves={"": tuple(found)}))
        first, second = dict(masker.content("", one).leaves), dict(masker.content("", other).leaves)
        keys = _key_patterns(first.keys() - second.keys(), second.keys() - first.keys())
        if not keys - set(found):
            break
        found += sorted(keys - set(found))
    values = {general(place) for place in first.keys() & second.keys() if first[place] != second[place]}
    values |= {general(place) for place, value in first.items() if _tells_the_moment(value, moments)}
    if any(pattern.startswith("~") for pattern in found):
        # several leaves may now share one place, so their values are compared as they were before
        values |= _values_below_keys(one, other, tuple(found))
    lone = {general(place) for place in first.keys() ^ second.keys()}
    patterns = (*found, *sorted(values), *sorted(f"!{place}" for place in lone))
    return patterns if len(patterns) <= _LEAF_PATTERNS else None


def _values_below_keys(one: Content, other: Content, keys: tuple[str, ...]) -> set[str]:
    masker = Masker(Mask(leaves={"": keys}))
    first, second = (masker.content("", content).leaves for content in (one, other))
    return {general(place) for place, _ in set(first) ^ set(second)}


def _key_patterns(only_first: Iterable[str], only_second: Iterable[str]) -> set[str]:
    """Prefixes below which each run has keys of its own in equal number, as `~prefix`."""
    found = []
    for places in (only_first, only_second):
        below: dict[str, set[str]] = {}
        for place in places:
            segments = place.split("/")
            for position in range(1, len(segments)):
                if not segments[position].isdigit() and segments[position] != "*":
                    below.setdefault("/".join(segments[:position]), set()).add(segments[position])
        found.append(below)
    prefixes = sorted(found[0].keys() & found[1].keys(), key=lambda prefix: prefix.count("/"))
    for prefix in prefixes:
        ones, others = found[0][prefix], found[1][prefix]
        if len(ones) == len(others) and not ones & others:
            return {"~" + general(prefix)}
    return set()


def _tells_the_moment(value: str, moments: Sequence[tuple[float, float]]) -> bool:
    """Whether a number is the time of one of the runs, in seconds, milli-, micro- or nanoseconds."""
    if not moments or not value[:1].isdigit():
        return False
    try:
        number = float(value)
    except ValueError:
        return False
    for scale in (1.0, 1e3, 1e6, 1e9):
        if any(began - 2 <= number / scale <= ended + 2 for began, ended in moments):
            return True
    return False


def line_patterns(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...] | None:
    """Regular expressions for whole lines that differ; None where the texts cannot be aligned."""
    if len(one) != len(other):
        return None
    found: dict[str, None] = {}
    for first, second in zip(one, other, strict=True):
        if first == second or any(re.fullmatch(p, first) and re.fullmatch(p, second) for p in found):
            continue
        pattern = _line_pattern(first, second)
        if pattern is None:
            return None
        found[pattern] = None
    return tuple(found) if len(found) <= _LINE_PATTERNS else None


def _line_pattern(first: str, second: str) -> str | None:
    """Word by word where only words differ; else what stands between their common beginning and end.

    Words are kept apart by signs that match themselves alone, so matching takes linear time on any line.
    """
    tokens = _TOKEN.findall(first), _TOKEN.findall(second)
    pairs = list(zip(*tokens, strict=False))
    if len(tokens[0]) == len(tokens[1]) and all(a == b or (a.isalnum() and b.isalnum()) for a, b in pairs):
        kinds = ("([0-9]+)" if a.isdecimal() and b.isdecimal() else "([0-9A-Za-z]+)" for a, b in pairs)
        return "".join(re.escape(a) if a == b else kind for (a, b), kind in zip(pairs, kinds, strict=True))
    start = 0
    while start < min(map(len, tokens)) and tokens[0][start] == tokens[1][start]:
        start += 1
    end = 0
    while end < min(map(len, tokens)) - start and tokens[0][-1 - end] == tokens[1][-1 - end]:
        end += 1
    head, tail = "".join(tokens[0][:start]), "".join(tokens[0][len(tokens[0]) - end :])
    if not re.search(r"\w", head + tail):
        return None  # nothing in common but signs: such a pattern would mask any line
    return f"{re.escape(head)}(.*){re.escape(tail)}"
