"""What a crash state looks like: which paths lead to which inodes, what stands in them, and the files on a disk.

Contents are computed from the start state and the micro-operations that are kept, block by block; what a block holds
depends only on those that touch it, so every block is hashed once for each combination of them and a state costs a few
look-ups. On a disk only what differs from the state built before is touched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blackstart.power import micro as kinds
from blackstart.power.micro import Micro
from blackstart.power.tree import DIRECTORY, FILE, SYMLINK, Tree

if TYPE_CHECKING:
    from blackstart.power.recording import Recording
    from blackstart.power.states import State

BLOCK = 4096
CACHED_MAX = 200_000
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Layout = dict[str, int]


@dataclass
class _Inode:
    """What touches one inode: its steps, a mask of them, and of each block those that decide what it holds."""

    steps: list[Micro] = field(default_factory=list)
    mask: int = 0
    start_size: int = 0
    source: str = ""
    blocks: dict[int, int] = field(default_factory=dict)
    by_block: dict[int, list[Micro]] = field(default_factory=dict)
    digests: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    whole: dict[tuple[int, int], int] = field(default_factory=dict)


class Contents:
    """Of each inode the size, the bytes and a digest, given a mask of kept micro-operations.

    A mask has bit i for micro-operation i. garbage: a mask of lost DATA whose place holds garbage instead of zeros.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._inodes: dict[int, _Inode] = {}
        self._base: dict[int, bytes] = {}
        nodes = recording.tree.nodes
        sizes = {entry.source: entry.size for entry in recording.start if entry.source}
        for step in recording.micros:
            if step.kind in (kinds.DATA, kinds.GROW, kinds.CUT):
                inode = self._inodes.get(step.inode)
                if inode is None:
                    source = nodes[step.inode].source
                    inode = self._inodes[step.inode] = _Inode(source=source, start_size=sizes.get(source, 0))
                inode.steps.append(step)
                inode.mask |= 1 << step.index
        self.touched = frozenset(self._inodes)

    def _index(self, inode: _Inode) -> None:
        """Of each block that any step touches, which steps decide it."""
        cuts = [step for step in inode.steps if step.kind == kinds.CUT]
        if cuts:
            lowest = min(step.size for step in cuts) // BLOCK
            for block in range(lowest, -(-inode.start_size // BLOCK)):
                inode.by_block[block] = []
        for step in inode.steps:
            if step.kind == kinds.DATA:
                for block in range(step.offset // BLOCK, -(-(step.offset + step.length) // BLOCK)):
                    inode.by_block.setdefault(block, []).append(step)
        for block, steps in inode.by_block.items():
            cutting = [step for step in cuts if step.size < (block + 1) * BLOCK]
            if cutting:
                inode.by_block[block] = steps = sorted([*steps, *cutting], key=lambda step: step.index)
            inode.blocks[block] = sum(1 << step.index for step in steps)

    def size(self, number: int, mask: int) -> int:
        """The size of the file."""
        inode = self._inodes.get(number)
        if inode is None:
            return self.recording.tree.nodes[number].size
        size = inode.start_size
        for step in inode.steps:
            if step.kind != kinds.DATA and mask >> step.index & 1:
                size = step.size
        return size

    def digest(self, number: int, mask: int, garbage: int = 0) -> int:
        """Equal for equal contents, whatever led to them."""
        inode = self._inodes.get(number)
        if inode is None:
            return hash(("untouched", number))
        key = (mask & inode.mask, garbage & inode.mask)
        known = inode.whole.get(key)
        if known is not None:
            return known
        if not inode.by_block:
            self._index(inode)
        mask, garbage = key
        size = self.size(number, mask)
        result = hash((inode.source, size))
        digests = inode.digests
        for block, deciding in inode.blocks.items():
            visible = size - block * BLOCK
            if visible <= 0:
                continue
            part = (block, mask & deciding, garbage & deciding, visible if visible < BLOCK else BLOCK)
            value = digests.get(part)
            if value is None:
                if len(digests) > CACHED_MAX:
                    digests.clear()
                value = digests[part] = self._block_digest(inode, part)
            result ^= value
        if len(inode.whole) > CACHED_MAX:
            inode.whole.clear()
        inode.whole[key] = result
        return result

    def _block_digest(self, inode: _Inode, part: tuple[int, int, int, int]) -> int:
        block, mask, garbage, visible = part
        start = block * BLOCK
        data = bytearray(self._read_base(inode, start, BLOCK).ljust(BLOCK, b"\0"))
        for step in inode.by_block[block]:
            self._apply(data, step, mask, garbage, start)
        # An inode without a start has no block that nobody wrote: what is equal to nothing counts as nothing.
        shown = bytes(data[:visible])
        digest = hashlib.blake2b(shown, digest_size=8, salt=block.to_bytes(8, "little")).digest()
        return int.from_bytes(digest, "little")

    def _read_base(self, inode: _Inode, offset: int, length: int) -> bytes:
        if not inode.source or offset >= inode.start_size:
            return b""
        with open(inode.source, "rb") as file:
            return os.pread(file.fileno(), min(length, inode.start_size - offset), offset)

    def _apply(self, data: bytearray, step: Micro, mask: int, garbage: int, start: int) -> None:
        """Carry out one step on the bytes `data`, which stand at `start` of the file."""
        bit = step.index
        if step.kind == kinds.CUT:
            if mask >> bit & 1 and step.size - start < len(data):
                low = max(step.size - start, 0)
                data[low:] = bytes(len(data) - low)
            return
        if step.kind != kinds.DATA:
            return
        kept = mask >> bit & 1
        if not kept and not garbage >> bit & 1:
            return
        low, high = max(step.offset, start), min(step.offset + step.length, start + len(data))
        if low >= high:
            return
        if not kept:
            data[low - start : high - start] = _garbage(step.index, low, high - low)
        elif step.reference < 0:
            data[low - start : high - start] = bytes(high - low)
        else:
            where = step.reference + low - step.offset
            data[low - start : high - start] = self.recording.spill.read(where, high - low)

    def content(self, number: int, mask: int, garbage: int = 0) -> bytes:
        """The whole content."""
        inode = self._inodes.get(number)
        size = self.size(number, mask)
        if inode is None:
            source = self.recording.tree.nodes[number].source
            inode = _Inode(source=source, start_size=size if source else 0)
        length = max([size, inode.start_size, *(s.offset + s.length for s in inode.steps if s.kind == kinds.DATA)])
        data = bytearray(self._base_bytes(number, inode).ljust(length, b"\0"))
        for step in inode.steps:
            self._apply(data, step, mask, garbage, 0)
        return bytes(data[:size]).ljust(size, b"\0")

    def _base_bytes(self, number: int, inode: _Inode) -> bytes:
        known = self._base.get(number)
        if known is None:
            known = self._read_base(inode, 0, inode.start_size)
            if inode.start_size <= 4 << 20 and len(self._base) < 64:
                self._base[number] = known
        return known


def _garbage(seed: int, offset: int, length: int) -> bytes:
    """Bytes that nobody wrote, the same each time."""
    return hashlib.shake_128(f"{seed}:{offset}".encode()).digest(length)


class Names:
    """Which of the paths that a recording touches lead where, given a mask."""

    def __init__(self, recording: Recording, touched: Iterable[int]) -> None:
        self._recording = recording
        self._start = Tree(recording.start)
        self._steps = [m for m in recording.micros if m.kind in (kinds.LINK, kinds.UNLINK)]
        self.mask = sum(1 << m.index for m in self._steps)
        self._known: dict[int, Layout] = {}
        self._names: dict[int, dict[str, None]] = {}
        self._moving = {m.inode for m in self._steps if recording.tree.nodes[m.inode].kind == DIRECTORY}
        parents = self._parents()
        for step in self._steps:
            self._touch(step.directory, step.name, parents)
        # The other names of a file that gets a further one too, so that they stay one file.
        for inode in {*touched, *(step.inode for step in self._steps)}:
            for directory, name in parents.get(inode, ()):
                self._touch(directory, name, parents)
        self.start = self.layout(0)

    def _parents(self) -> dict[int, list[tuple[int, str]]]:
        found: dict[int, list[tuple[int, str]]] = {}
        for node in self._start.nodes:
            for name, inode in node.entries.items():
                found.setdefault(inode, []).append((node.number, name))
        return found

    def _touch(self, directory: int, name: str, parents: dict[int, list[tuple[int, str]]]) -> None:
        """This entry is of interest, and the way to it."""
        names = self._names.setdefault(directory, {})
        if name in names:
            return
        names[name] = None
        for above, own_name in parents.get(directory, ()):
            self._touch(above, own_name, parents)

    def layout(self, mask: int) -> Layout:
        """Path -> inode of all entries of interest."""
        key = mask & self.mask
        known = self._known.get(key)
        if known is None:
            changed: dict[int, dict[str, int | None]] = {}
            for step in self._steps:
                if key >> step.index & 1:
                    entries = changed.setdefault(step.directory, {})
                    if step.kind == kinds.LINK:
                        entries[step.name] = step.inode
                    elif entries.get(step.name, self._start_entry(step)) == step.inode:
                        entries[step.name] = None
            known = {}
            for path, number in self._start.roots.items():
                self._walk(path, number, changed, known, is_moved=False, above=())
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[key] = known
        return known

    def _start_entry(self, step: Micro) -> int | None:
        nodes = self._start.nodes
        return nodes[step.directory].entries.get(step.name) if step.directory < len(nodes) else None

    def _walk(
        self,
        path: str,
        number: int,
        changed: dict[int, dict[str, int | None]],
        found: Layout,
        *,
        is_moved: bool,
        above: tuple[int, ...],
    ) -> None:
        start = self._start.nodes[number].entries if number < len(self._start.nodes) else {}
        mine = changed.get(number, {})
        names = {**dict.fromkeys(start), **mine} if is_moved else self._names.get(number, {})
        for name in names:
            inode = mine[name] if name in mine else start.get(name)
            if inode is None or inode in above:
                continue
            found[f"{path}/{name}"] = inode
            if self._recording.tree.nodes[inode].kind == DIRECTORY:
                moved = is_moved or inode in self._moving
                self._walk(f"{path}/{name}", inode, changed, found, is_moved=moved, above=(*above, number))


@dataclass(frozen=True)
class Change:
    """One path that differs from before; kind is `` for nothing there; inode: whose content it has."""

    path: str
    kind: str
    inode: int = -1
    target: str = ""
    mode: int = 0o644


def changes_of(names: Names, contents: Contents, state: State) -> list[Change]:
    """What has to be done to the start state to have this crash state, removals first and deepest first."""
    nodes, start, now = names._recording.tree.nodes, names.start, names.layout(state.mask)
    gone = [path for path, inode in start.items() if path not in now or nodes[inode].kind != nodes[now[path]].kind]
    found = [Change(path, "") for path in sorted(gone, key=lambda p: -p.count("/"))]
    for path in sorted(now, key=lambda p: p.count("/")):
        inode = now[path]
        node = nodes[inode]
        same = start.get(path) == inode
        if same and (node.kind != FILE or inode not in contents.touched):
            continue
        if same and contents.digest(inode, state.mask, state.garbage) == contents.digest(inode, 0):
            continue
        mode = node.mode or (0o755 if node.kind == DIRECTORY else 0o644)
        found.append(Change(path, node.kind, inode, node.target, mode))
    return found


class Builder:
    """Builds crash states of one recording into directories, each from what the one before left there.

    places: root as the target sees it -> descriptor-openable directory that holds the start state now.
    """

    def __init__(self, recording: Recording, places: Mapping[str, str], *, contents: Contents, names: Names) -> None:
        self._contents = contents
        self._names = names
        self._roots = {root: os.open(place, _DIRECTORY_FLAGS) for root, place in places.items()}
        self._nodes = recording.tree.nodes
        self._now: dict[str, tuple[int, int]] = {
            path: (inode, contents.digest(inode, 0) if self._nodes[inode].kind == FILE else 0)
            for path, inode in names.start.items()
        }

    def close(self) -> None:
        for descriptor in self._roots.values():
            os.close(descriptor)
        self._roots.clear()

    def forget(self, paths: Iterable[str]) -> None:
        """These paths were changed by somebody else: whatever stands there is replaced at the next build."""
        for path in paths:
            self._now[path] = (-1, 0)

    def build(self, state: State) -> int:
        """Make the directories equal to this crash state; how many paths had to be touched."""
        wanted = self._names.layout(state.mask)
        contents, nodes, now = self._contents, self._nodes, self._now
        touched = 0
        for path in sorted((p for p in now if self._must_go(p, wanted)), key=lambda p: -p.count("/")):
            self._remove(path)
            del now[path]
            touched += 1
        marks = {
            path: (inode, contents.digest(inode, state.mask, state.garbage) if nodes[inode].kind == FILE else 0)
            for path, inode in wanted.items()
        }
        made = {mark[0]: path for path, mark in marks.items() if now.get(path) == mark}
        for path in sorted((p for p in wanted if now.get(p) != marks[p]), key=lambda p: p.count("/")):
            self._make(path, wanted[path], state, made)
            made.setdefault(wanted[path], path)
            now[path] = marks[path]
            touched += 1
        return touched

    def _must_go(self, path: str, wanted: Layout) -> bool:
        if path not in wanted:
            return True
        known = self._now[path][0]
        return known < 0 or self._nodes[known].kind != self._nodes[wanted[path]].kind or (
            known != wanted[path] and self._nodes[known].kind != FILE
        )

    def _parent(self, path: str) -> tuple[int, str]:
        """(a new descriptor of the directory, name)"""
        root = max((r for r in self._roots if path.startswith(r + "/")), key=len)
        *parents, name = path[len(root) + 1 :].split("/")
        here = os.dup(self._roots[root])
        for part in parents:
            above = here
            try:
                here = os.open(part, _DIRECTORY_FLAGS, dir_fd=above)
            finally:
                os.close(above)
        return here, name

    def _remove(self, path: str) -> None:
        try:
            directory, name = self._parent(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            _remove_all(directory, name)
        finally:
            os.close(directory)

    def _make(self, path: str, inode: int, state: State, made: Mapping[int, str]) -> None:
        node = self._nodes[inode]
        directory, name = self._parent(path)
        try:
            if node.kind == DIRECTORY:
                os.mkdir(name, node.mode or 0o755, dir_fd=directory)
            elif node.kind == SYMLINK:
                os.symlink(node.target, name, dir_fd=directory)
            elif node.kind == FILE and inode in made:
                first, first_name = self._parent(made[inode])
                try:
                    _remove_all(directory, name)
                    os.link(first_name, name, src_dir_fd=first, dst_dir_fd=directory, follow_symlinks=False)
                finally:
                    os.close(first)
            elif node.kind == FILE:
                _write(directory, name, self._contents.content(inode, state.mask, state.garbage), node.mode or 0o644)
        finally:
            os.close(directory)


def _write(directory: int, name: str, data: bytes, mode: int) -> None:
    """A file of its own with these bytes: never through an existing one, which may have another name too."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _remove_all(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    here = os.open(name, _DIRECTORY_FLAGS, dir_fd=directory)
    try:
        for entry in os.listdir(here):
            _remove_all(here, entry)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=directory)
