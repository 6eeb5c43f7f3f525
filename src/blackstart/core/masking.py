"""Applying a mask: what differs between two clean runs becomes `*`, everywhere in the same way.

Pure. Learning a mask is `surface`'s work; the gate, the surface and the oracles only apply one, so this stands in core.
Every application is idempotent: a masked path, text or content masked again stays as it is, because a masked
part is `*` and no rule matches a `*`.

A pattern in `Mask.leaves` is a place with its numbers as `*`. Alone, the value there is masked; with `!` before it the
leaf is left out altogether (present in one run only); with `~` before it the *keys* below that place are run-specific.
A pattern in `Mask.lines` is a regular expression for a whole line; what its groups matched becomes `*`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from blackstart.core.calibration import Mask
from blackstart.core.reading import Content, FileState, Image, Leaves

CWD, HOME = "$CWD", "$HOME"
# What has no name: the file given as stdin, which is in memory, and files that were opened without a name. The kernel
# shows them by an inode number, which another run need not get again.
_NAMELESS = ((r"^/memfd:stdin \(deleted\)$", "stdin"), (r"(?<=/)#[0-9]+ \(deleted\)$", "(nameless)"))
ROOTED = (CWD, HOME, *(name for _, name in _NAMELESS))
# The kind of a version that was not read (there were too many), and the prefix of what a boundary re-run started from.
UNREAD, BEFORE = "unread", "before:"
_ONE_OF_MANY = re.compile(r" \(\d+\)$")
_INDEX = re.compile(r"(?:(?<=/)|^)\d+(?=/|$)")


def general(place: str) -> str:
    """The place with its numbers (list positions, rows, lines) as `*`."""
    return _INDEX.sub("*", place)


def together(path: str) -> str:
    """The masked path of all files that share it: without the number that tells them apart."""
    return _ONE_OF_MANY.sub("", path) if "*" in path else path


def rooted(mask: Mask, cwd: str, home: str) -> Mask:
    """The mask with `cwd` shown as `$CWD` and `home` as `$HOME`, replacing earlier roots."""
    rest = [rule for rule in mask.names if rule[1] not in ROOTED]
    roots = [(cwd.rstrip("/"), CWD), (home.rstrip("/"), HOME)]
    roots.sort(key=lambda root: -len(root[0]))  # the deeper one first; cwd wins where they are equal
    rules = [(f"^{re.escape(path)}(?=/|$)", name) for path, name in roots if path]
    return msgspec.structs.replace(mask, names=(*rules, *_NAMELESS, *rest))


def same(one: FileState | None, other: FileState | None) -> bool:
    """Whether two states are logically equal: kind and target, then digest, else all leaves."""
    if one is None or other is None or one is other:
        return one is other
    if one.kind != other.kind or one.target != other.target:
        return False
    if one.kind != "file":
        return True
    if one.content is None or other.content is None:
        return one.digest == other.digest and one.size == other.size
    return same_content(one.content, other.content)


def same_content(one: Content, other: Content) -> bool:
    """Equal digests, or the same form with equal leaves, all of them known."""
    if one.digest and one.digest == other.digest:
        return True
    return is_comparable(one) and is_comparable(other) and one.form == other.form and one.leaves == other.leaves


def is_comparable(content: Content) -> bool:
    """Whether the leaves stand for the whole content: read without error and none left out."""
    return bool(content.form) and not content.error and content.count == len(content.leaves)


def digest_of(leaves: Leaves) -> str:
    """A digest of leaves, for contents whose bytes no longer count."""
    hasher = hashlib.sha256()
    for place, value in leaves:
        hasher.update(f"{len(place)}:{place}{len(value)}:{value}".encode("utf-8", "surrogatepass"))
    return "masked:" + hasher.hexdigest()[:32]


class Masker:
    """A mask, ready to be applied; calling it masks a path (what the gate wants)."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._names = [(re.compile(pattern), replacement) for pattern, replacement in mask.names]
        self._known: dict[str, str] = {}
        self._lines = {name: [re.compile(p) for p in patterns] for name, patterns in mask.lines.items()}

    def __call__(self, path: str) -> str:
        return self.path(path)

    def path(self, path: str) -> str:
        """The masked path."""
        known = self._known.get(path)
        if known is None:
            known = path
            for pattern, replacement in self._names:
                known = pattern.sub(lambda _, text=replacement: text, known, count=1)  # type: ignore[misc]
            self._known[path] = known
        return known

    def image(self, image: Image, keep: Iterable[str] | None = None) -> Image:
        """The image by masked path with masked contents; of files that share a name the later get ` (2)`, ` (3)` ….

        keep: only these masked paths (all if None).
        """
        wanted = None if keep is None else set(keep)
        together: dict[str, list[FileState]] = {}
        for path, state in image.items():
            masked = self.path(path)
            if wanted is None or masked in wanted:
                together.setdefault(masked, []).append(self.state(masked, state))
        result: Image = {}
        for masked, states in together.items():
            states.sort(key=lambda state: (state.content.digest if state.content else state.digest, state.size))
            for number, state in enumerate(states, 1):
                result[masked if number == 1 else f"{masked} ({number})"] = state
        return result

    def state(self, masked: str, state: FileState) -> FileState:
        """The state with its content masked; `masked` is its masked path."""
        if state.content is None or (masked not in self.mask.leaves and masked not in self.mask.lines):
            return state
        return msgspec.structs.replace(state, content=self.content(masked, state.content))

    def content(self, masked: str, content: Content) -> Content:
        """The content with masked leaves and a digest that tells masked contents apart."""
        patterns, lines = self.mask.leaves.get(masked, ()), self._lines.get(masked, [])
        if not content.leaves or not (patterns or lines):
            return content
        keys = {p[1:] for p in patterns if p.startswith("~")}
        dropped = {p[1:] for p in patterns if p.startswith("!")}
        values = {p for p in patterns if p[0] not in "~!"}
        leaves = []
        for place, value in content.leaves:
            place = _mask_keys(place, keys) if keys else place
            where = general(place)
            if where in dropped:
                continue
            leaves.append((place, "*" if where in values else self._line(lines, value)))
        kept = tuple(sorted(leaves))
        count = content.count - (len(content.leaves) - len(kept))
        return msgspec.structs.replace(content, leaves=kept, count=count, digest=digest_of(kept))

    def text(self, name: str, data: bytes) -> str:
        """Output as text, its run-specific parts as `*`; name: `stdout` or `stderr`."""
        lines = self._lines.get(name, [])
        text = data.decode("utf-8", "backslashreplace")
        return "\n".join(self._line(lines, line) for line in text.split("\n")) if lines else text

    def line(self, name: str, line: str) -> str:
        """One line of a stream or a file by its masked path."""
        return self._line(self._lines.get(name, []), line)

    def _line(self, patterns: list[re.Pattern[str]], line: str) -> str:
        before = None
        while before != line:  # one pattern's result may be another's line
            before = line
            for pattern in patterns:
                line = _starred(pattern, line)
        return line


def _starred(pattern: re.Pattern[str], line: str) -> str:
    found = pattern.fullmatch(line)
    if not found:
        return line
    parts, at = [], 0
    for number in range(1, pattern.groups + 1):
        parts += [line[at : found.start(number)], "*"]
        at = found.end(number)
    return "".join([*parts, line[at:]])


def _mask_keys(place: str, keys: set[str]) -> str:
    segments = place.split("/")
    for position in range(1, len(segments)):
        if general("/".join(segments[:position])) in keys:
            segments[position] = "*"
    return "/".join(segments)
