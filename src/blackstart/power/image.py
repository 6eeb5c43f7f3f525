"""What a crash state looks like: which paths lead to which inodes, and what stands in them.

Contents are computed from the start state and the micro-operations that are kept, block by block; what a block holds
depends only on those that touch it, so every block is hashed once for each combination of them and a state costs a few
look-ups.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from blackstart.power import micro as kinds
from blackstart.power.micro import Micro
from blackstart.power.tree import DIRECTORY, Tree

if TYPE_CHECKING:
    from blackstart.power.recording import Recording

BLOCK = 4096
CACHED_MAX = 200_000
# How many paths all remembered layouts may have together.
PATHS_MAX = 500_000
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
        self._sizes = {entry.source: entry.size for entry in recording.start if entry.source}
        self._taken = 0
        self.extend()

    def extend(self) -> None:
        """Take what was recorded since; only before anybody has asked for a digest."""
        nodes = self.recording.tree.nodes
        for step in islice(self.recording.micros, self._taken, None):
            if step.kind in (kinds.DATA, kinds.GROW, kinds.CUT):
                inode = self._inodes.get(step.inode)
                if inode is None:
                    source = nodes[step.inode].source
                    inode = self._inodes[step.inode] = _Inode(source=source, start_size=self._sizes.get(source, 0))
                inode.steps.append(step)
                inode.mask |= 1 << step.index
        self._taken = len(self.recording.micros)
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
        self._paths = 0
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
            self._paths += len(known)
            if self._paths > PATHS_MAX:
                self._known.clear()
                self._paths = len(known)
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
