"""Learning what a program does differently each time: from two (or more) clean runs of one start.

Only what differs between the runs is masked, never what merely looks like a date or a temporary name, with one
exception: what tells the moment of its own run, in both runs alike, would differ a minute later even if it did not now.
What stood there before the run tells nothing of it. What cannot be made equal is hopeless: unknown, never failed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from blackstart.core.calibration import Mask
from blackstart.core.installed import INSTALLED
from blackstart.core.masking import Masker, general, is_comparable, rooted, same, together
from blackstart.core.reading import Content, FileState, Image
from blackstart.core.trace import Operation
from blackstart.surface.moment import Moment, cut, shape, spans, tells
from blackstart.surface.names import name_rules

STREAMS = ("stdout", "stderr", "check")
_LINE_PATTERNS = 50
_LEAF_PATTERNS = 400
_LABEL = re.compile(r"(?<![A-Za-z_])[A-Za-z_]{2,30}[^0-9A-Za-z_*]{0,5}$")
_TOKEN = re.compile(r"[0-9A-Za-z]+|.", re.DOTALL)


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One clean run: the image after it and the one before it, all paths its trace named, what it wrote and what
    `--check` then answered, and when it ran (None: not known).
    """

    image: Image
    before: Image = {}
    paths: frozenset[str] = frozenset()
    stdout: bytes = b""
    stderr: bytes = b""
    check: bytes = b""
    moment: Moment | None = None


def learn(first: Observation, second: Observation, *, cwd: str, home: str) -> Mask:
    """The mask under which the two runs are equal, apart from what is listed as hopeless."""
    return extend(rooted(Mask(), cwd, home), first, second)


def extend(mask: Mask, first: Observation, second: Observation) -> Mask:
    """The mask with what else differs between two more runs of one start (null trials)."""
    masker = Masker(mask)
    one, other = ({masker(path) for path in (*run.image, *run.paths)} for run in (first, second))
    used = [{masker(path) for path in run.paths if not _is_fixed(path, run)} for run in (first, second)]
    moments = [run.moment for run in (first, second) if run.moment is not None]
    mask = msgspec.structs.replace(mask, names=(*mask.names, *name_rules(one, other, used, moments)))
    masker = Masker(mask)
    images = masker.image(first.image), masker.image(second.image)
    before = masker.image(first.before)
    leaves, lines, hopeless = dict(mask.leaves), dict(mask.lines), set(mask.hopeless)
    for path in sorted(images[0].keys() | images[1].keys()):
        if path in images[0] and images[0][path] is images[1].get(path) is before.get(path):
            continue  # neither run touched it: it was not even read again
        found = _file_patterns(images[0].get(path), images[1].get(path), Own.of(before.get(path), moments))
        if found is None:
            hopeless.add(path)
        else:
            name = together(path)  # what one of them has of its own, each of them has
            leaves[name] = _joined(leaves.get(name, ()), found[0])
            lines[name] = _joined(lines.get(name, ()), found[1])
    for stream in STREAMS:
        one_text, other_text = (masker.text(stream, getattr(run, stream)).split("\n") for run in (first, second))
        patterns = line_patterns(one_text, other_text, Own.of(None, moments))
        if patterns is None or _swallows(patterns, one_text, other_text):
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


def _is_fixed(path: str, run: Observation) -> bool:
    """Whether a name cannot tell the moment of the run: it is installed, or the run found it and left it alone."""
    stood = run.before.get(path)
    return run.image.get(path) is stood if stood else path.startswith(INSTALLED) and path not in run.image


def _swallows(patterns: Iterable[str], one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a pattern with free text in it, learnt where lines differ, also makes lines alike that are in both runs.

    `gpg: (.*)` would make a message of the program's own look like any of its others, and hide what it says of a fault.
    """
    both = set(one) & set(other)
    return any("(.*)" in pattern and re.fullmatch(pattern, line) for pattern in patterns for line in both)


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


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What tells the runs' own moments: the moments, and the (general place, value) pairs that stood there before."""

    moments: tuple[Moment, ...] = ()
    old: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, before: FileState | None, moments: Sequence[Moment]) -> Own:
        """moments: one per run, else nothing is recognised."""
        leaves = before.content.leaves if before is not None and before.content is not None else ()
        return cls(
            moments=tuple(moments) if len(moments) == 2 else (),
            old=frozenset((general(place), value) for place, value in leaves),
        )

    def parts(self, lines: Sequence[tuple[str, str]]) -> list[list[tuple[int, int]]]:
        """The telling parts of each run's (place, line); none unless both runs have as many, of the same shapes."""
        if not self.moments or all((general(place), line) in self.old for place, line in lines):
            return [[] for _ in lines]
        found = [spans(line, moment) for (_, line), moment in zip(lines, self.moments, strict=True)]
        shapes = [[shape(line[a:b]) for a, b in parts] for (_, line), parts in zip(lines, found, strict=True)]
        return found if shapes[0] == shapes[1] else [[] for _ in lines]


def _file_patterns(
    one: FileState | None, other: FileState | None, own: Own
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(leaf patterns, line patterns) that make both equal; None where there are none."""
    if one is None or other is None or one.kind != other.kind:
        return None
    if one.kind != "file" or one.content is None or other.content is None:
        return ((), ()) if same(one, other) else None
    if not (is_comparable(one.content) and is_comparable(other.content)) or one.content.form != other.content.form:
        return ((), ()) if same(one, other) else None
    if one.content.form == "text":
        lines = [[value for _, value in _in_order(content)] for content in (one.content, other.content)]
        patterns = line_patterns(lines[0], lines[1], own)
        return None if patterns is None else ((), patterns)
    if one.content.form == "bytes" and one.size != other.size:
        return None  # what stands where cannot be told
    found = leaf_patterns(one.content, other.content, own)
    return None if found is None else (found, _partly_telling(one.content, other.content, own))


def _in_order(content: Content) -> list[tuple[str, str]]:
    """Lines by their numbers; leaves are sorted as text."""
    return sorted(content.leaves, key=lambda leaf: (len(leaf[0]), leaf[0]))


def _partly_telling(one: Content, other: Content, own: Own) -> tuple[str, ...]:
    """Line patterns for values that are equal in both runs, and tell their moments in a part of them."""
    second = dict(other.leaves)
    found: dict[str, None] = {}
    for place, value in one.leaves:
        if second.get(place) == value:
            parts = own.parts([(place, value), (place, value)])
            if parts[0] and parts[0] != [(0, len(value))] and not tells(value, own.moments[0]):
                pattern = _line_pattern(_tokens(value, parts[0]), _tokens(value, parts[1]))
                found[pattern or ""] = None
    return tuple(filter(None, found))[:_LINE_PATTERNS]


def leaf_patterns(one: Content, other: Content, own: Own | None = None) -> tuple[str, ...] | None:
    """Patterns of differing leaves: masked values, run-specific keys (`~`), leaves of one run only (`!`)."""
    own = own or Own()
    found: list[str] = sorted(_telling_keys(one, other, own))
    for _ in range(8):  # a key may be run-specific below a run-specific key: one level more each time
        masker = Masker(Mask(leaves={"": tuple(found)}))
        first, second = dict(masker.content("", one).leaves), dict(masker.content("", other).leaves)
        keys = _key_patterns(first.keys() - second.keys(), second.keys() - first.keys())
        if not keys - set(found):
            break
        found += sorted(keys - set(found))
    values = {general(place) for place in first.keys() & second.keys() if first[place] != second[place]}
    values |= _telling_places(first, second, own)
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


def _telling_places(one: dict[str, str], other: dict[str, str], own: Own) -> set[str]:
    """Places at which each run has a value of its own that tells its moment."""
    found = [
        {
            general(place)
            for place, value in leaves.items()
            if (general(place), value) not in own.old and tells(value, m)
        }
        for leaves, m in zip((one, other), own.moments, strict=False)
    ]
    return found[0] & found[1] if len(found) == 2 else set()


def _telling_keys(one: Content, other: Content, own: Own) -> set[str]:
    """`~prefix` for each prefix below which both runs have made a key that tells their moment."""
    old = {prefix for place, _ in own.old for prefix in _prefixes(place)}
    found = [
        {
            prefix.rpartition("/")[0]
            for place, _ in content.leaves
            for prefix in _prefixes(place)
            if (key := prefix.rpartition("/")[2]) and not key.isdigit() and general(prefix) not in old
            if tells(key, moment)
        }
        for content, moment in zip((one, other), own.moments, strict=False)
    ]
    return {"~" + general(prefix) for prefix in found[0] & found[1]} if len(found) == 2 else set()


def _prefixes(place: str) -> list[str]:
    segments = place.split("/")
    return ["/".join(segments[:length]) for length in range(1, len(segments) + 1)]


Token = tuple[str, str]  # text, and the shape of a part that tells the moment (`` for any other)


def _tokens(line: str, parts: Sequence[tuple[int, int]]) -> list[Token]:
    found: list[Token] = []
    for position, piece in enumerate(cut(line, parts)):
        found += [(piece, shape(piece))] if position % 2 else [(token, "") for token in _TOKEN.findall(piece)]
    return found


def line_patterns(one: Sequence[str], other: Sequence[str], own: Own | None = None) -> tuple[str, ...] | None:
    """Regular expressions for whole lines that differ or tell the moment; None where the texts cannot be aligned."""
    if len(one) != len(other):
        return None
    own = own or Own()
    stamps = _stamps(one, other, own)
    found = dict.fromkeys(stamps)
    masker = Masker(Mask(lines={"": stamps}))
    for number, lines in enumerate(zip(one, other, strict=True), 1):
        is_old = all((general(str(number)), line) in own.old for line in lines)
        first, second = (masker.line("", line) for line in lines)
        parts = [[], []] if is_old else own.parts([("", first), ("", second)])
        if first == second and not parts[0]:
            continue
        if any(re.fullmatch(p, first) and re.fullmatch(p, second) for p in found):
            continue
        pattern = _line_pattern(_tokens(first, parts[0]), _tokens(second, parts[1]))
        if pattern is None:
            return None
        found[pattern] = None
    return tuple(found) if len(found) <= _LINE_PATTERNS else None


def _stamps(one: Sequence[str], other: Sequence[str], own: Own) -> tuple[str, ...]:
    """Patterns for moments that both runs tell at the start of a line, or after one and the same word (`"at": `).

    They hold in whatever line of the file, since a later run may write what none of the two has.
    """
    found: dict[str, None] = {}
    for number, lines in enumerate(zip(one, other, strict=True), 1):
        for parts in zip(*own.parts([(str(number), line) for line in lines]), strict=True):
            labels = [_label(line[: part[0]]) for line, part in zip(lines, parts, strict=True)]
            if labels[0] is not None and labels[0] == labels[1]:
                found[f"{labels[0]}({shape(lines[0][slice(*parts[0])])})(?!\\d).*"] = None
    return tuple(found)


def _label(before: str) -> str | None:
    """A pattern for what stands before a moment: nothing, one bracket, or anything that ends in this word."""
    if before in ("", "[", "(", "<"):
        return re.escape(before)
    word = _LABEL.search(before)
    return None if word is None else f".*?(?<![A-Za-z_]){re.escape(word[0])}"


def _line_pattern(one: Sequence[Token], other: Sequence[Token]) -> str | None:
    """Word by word where only words differ; else what stands between their common beginning and end.

    Words are kept apart by signs that match themselves alone, so matching takes linear time on any line.
    """
    pairs = list(zip(one, other, strict=False))
    if len(one) == len(other) and all(_alike(a, b) or (a[0].isalnum() and b[0].isalnum()) for a, b in pairs):
        return "".join(_written(a) if _alike(a, b) else _word(a[0], b[0]) for a, b in pairs)
    start = 0
    while start < min(len(one), len(other)) and _alike(one[start], other[start]):
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and _alike(one[-1 - end], other[-1 - end]):
        end += 1
    head, tail = one[:start], one[len(one) - end :]
    if not any(re.search(r"\w", text) for text, _ in (*head, *tail)):
        return None  # nothing in common but signs: such a pattern would mask any line
    return "".join(map(_written, head)) + "(.*)" + "".join(map(_written, tail))


def _alike(one: Token, other: Token) -> bool:
    return one == other or (one[1] != "" and one[1] == other[1])


def _written(token: Token) -> str:
    return f"({token[1]})" if token[1] else re.escape(token[0])


def _word(one: str, other: str) -> str:
    return "([0-9]+)" if one.isdecimal() and other.isdecimal() else "([0-9A-Za-z]+)"


def masked_trace(trace: Iterable[Operation], masker: Masker) -> Iterator[Operation]:
    """The trace under the final mask: paths that it makes equal are counted together."""
    seen: Counter[tuple[str, str]] = Counter()
    for operation in trace:
        masked = masker(operation.path)
        seen[operation.call, masked] += 1
        nth = seen[operation.call, masked]
        yield msgspec.structs.replace(operation, masked=masked, path2=masker(operation.path2), nth=nth, data=b"")
