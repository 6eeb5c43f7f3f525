"""From one operation to its micro-operations, and the tree as it is afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from blackstart.core.trace import Operation
from blackstart.power import micro as kinds
from blackstart.power.failing import cut_off, drop, written_again
from blackstart.power.image import Contents
from blackstart.power.micro import Micro
from blackstart.power.models import Model
from blackstart.power.spill import ZEROS
from blackstart.power.tree import DIRECTORY, FILE, OTHER, SYMLINK, Node

if TYPE_CHECKING:
    from blackstart.power.recording import Recording

# What O_SYNC asks for beyond O_DSYNC.
_SYNC_ONLY = os.O_SYNC & ~os.O_DSYNC
_RWF_DSYNC, _RWF_SYNC = 2, 4
_NOREPLACE, _EXCHANGE = 1, 2
_KEEP_SIZE, _PUNCH, _ZERO_RANGE = 1, 2, 16
_PAGE = 4096


class Changes:
    """Appends to a recording. pieces_max: into how many pieces one write is taken apart at most; dropped: by inode,
    what a failed sync dropped although the file still reads as if it were there.
    """

    def __init__(self, recording: Recording, pieces_max: int, block_bytes: int) -> None:
        self.recording = recording
        self.touched: set[int] = set()
        self.dropped: dict[int, list[Micro]] = {}
        self._tree = recording.tree
        self._pieces_max = pieces_max
        self._block_bytes = block_bytes
        self._part = 0
        self._by_call: dict[str, Callable[[Operation], None]] = {}
        for names, method in (
            ("open openat openat2 creat", self._open),
            ("write pwrite64 writev pwritev pwritev2", self._write),
            ("truncate ftruncate", self._truncate),
            ("fallocate", self._allocate),
            ("rename renameat renameat2", self._rename),
            ("link linkat", self._link),
            ("symlink symlinkat", self._symlink),
            ("unlink unlinkat", self._unlink),
            ("rmdir", self._unlink),
            ("mkdir mkdirat", self._make_directory),
            ("mknod mknodat", self._make_other),
            ("fsync fdatasync sync syncfs", self._sync),
            ("close", self._close),
        ):
            self._by_call.update(dict.fromkeys(names.split(), method))

    def apply(self, operation: Operation) -> None:
        """Record what this operation does, if it succeeds as far as the tree can tell."""
        method = self._by_call.get(operation.call)
        if method is not None:
            method(operation)

    def begin(self, operation: Operation) -> None:
        """The micro-operations that follow belong to this operation."""
        self.recording.operations.append(msgspec.structs.replace(operation, data=b""))
        self._part = 0

    def add(self, kind: str, **fields: Any) -> None:
        """One more micro-operation of the operation at hand."""
        recording = self.recording
        micro = Micro(len(recording.micros), len(recording.operations) - 1, self._part, kind, **fields)
        recording.micros.append(micro)
        self._part += 1
        if micro.inode >= 0:
            self.touched.add(micro.inode)

    def _open(self, operation: Operation) -> None:
        flags = operation.flags | (os.O_CREAT | os.O_TRUNC | os.O_WRONLY if operation.call == "creat" else 0)
        if flags & os.O_TMPFILE == os.O_TMPFILE or not flags & (os.O_CREAT | os.O_TRUNC):
            return
        path = operation.path if flags & (os.O_NOFOLLOW | os.O_EXCL) else self._tree.followed(operation.path)
        node = self._tree.node(path)
        if node is None:
            place = self._tree.place(path)
            if flags & os.O_CREAT and place:
                self.begin(operation)
                made = self._tree.new(FILE, mode=0o644)
                self._link_new(place, made, is_new=True)
            return
        if flags & os.O_TRUNC and flags & os.O_ACCMODE and node.kind == FILE:
            if not (flags & os.O_CREAT and flags & os.O_EXCL) and node.size:
                self.begin(operation)
                self._resize(node, 0)

    def _link_new(self, place: tuple[int, str], node: Node, *, is_new: bool = False) -> None:
        self._tree.link(*place, node.number)
        self.add(kinds.LINK, inode=node.number, directory=place[0], name=place[1], is_new=is_new)

    def _write(self, operation: Operation) -> None:
        node = self._tree.node(operation.path)
        if node is None or node.kind != FILE or not operation.data:
            return
        if operation.offset < 0:
            self.recording.uncovered[operation.path] = "where a write went is not known"
            return
        self.begin(operation)
        self.write_pieces(node, operation.offset, operation.data)
        if operation.status & os.O_DSYNC or (
            operation.call == "pwritev2" and operation.flags & (_RWF_DSYNC | _RWF_SYNC)
        ):
            whole = operation.status & _SYNC_ONLY or (operation.call == "pwritev2" and operation.flags & _RWF_SYNC)
            self.add(kinds.SYNC, inode=node.number, name=kinds.FILE if whole else kinds.FILE_DATA)

    def write_pieces(self, node: Node, offset: int, data: bytes) -> None:
        """DATA for each piece, and GROW after each that lies beyond the end."""
        if node.number in self.dropped:
            dropped = self.dropped[node.number]
            again, self.dropped[node.number] = written_again(dropped, offset, offset + len(data), _PAGE)
            for step in again:
                self.add(
                    kinds.DATA, inode=node.number, offset=step.offset, length=step.length,
                    reference=step.reference, is_new=step.is_new,
                )  # fmt: skip
        for start, end in _pieces(offset, offset + len(data), self._block_bytes, self._pieces_max):
            piece = data[start - offset : end - offset]
            reference = self.recording.spill.add(piece)
            is_new = start >= node.allocated
            self.add(kinds.DATA, inode=node.number, offset=start, length=len(piece), reference=reference, is_new=is_new)
            node.allocated = max(node.allocated, self._tree.rounded(end))
            if end > node.size:
                self._grow(node, end)

    def _grow(self, node: Node, size: int, *, is_new: bool = False) -> None:
        node.size = size
        self.add(kinds.GROW, inode=node.number, size=size, is_new=is_new)

    def _resize(self, node: Node, size: int) -> None:
        if size > node.size:
            self._grow(node, size, is_new=True)
        elif size < node.size:
            end = min(node.size, self._tree.rounded(size))
            if size < end:  # the rest of the last block is overwritten in the cache, and may reach the disk by itself
                self.add(kinds.DATA, inode=node.number, offset=size, length=end - size, is_tail=True)
            node.was_emptied = size == 0
            node.size = size
            node.allocated = self._tree.rounded(size)
            if node.number in self.dropped:
                self.dropped[node.number] = cut_off(self.dropped[node.number], size)
            self.add(kinds.CUT, inode=node.number, size=size)

    def _truncate(self, operation: Operation) -> None:
        path = operation.path if operation.call == "ftruncate" else self._tree.followed(operation.path)
        node = self._tree.node(path)
        if node is not None and node.kind == FILE and operation.size >= 0:
            self.begin(operation)
            self._resize(node, operation.size)

    def _allocate(self, operation: Operation) -> None:
        node = self._tree.node(operation.path)
        if node is None or node.kind != FILE or operation.offset < 0 or operation.size <= 0:
            return
        end = operation.offset + operation.size
        self.begin(operation)
        if operation.flags & (_PUNCH | _ZERO_RANGE):
            limit = min(end, node.size)
            for start, stop in _pieces(operation.offset, limit, self._block_bytes, self._pieces_max):
                self.add(kinds.DATA, inode=node.number, offset=start, length=stop - start, reference=ZEROS)
        if not operation.flags & _PUNCH:
            node.allocated = max(node.allocated, self._tree.rounded(end))
            if not operation.flags & _KEEP_SIZE and end > node.size:
                self._grow(node, end, is_new=True)

    def _rename(self, operation: Operation) -> None:
        tree, source, target = self._tree, operation.path, operation.path2
        old, new = tree.node(source), tree.node(target)
        here, there = tree.place(source), tree.place(target)
        flags = operation.flags if operation.call == "renameat2" else 0
        if old is None or here is None or (new is old and new is not None) or target.startswith(source + "/"):
            return
        if flags & _EXCHANGE:
            if new is not None and there is not None:
                self.begin(operation)
                for place, node in ((here, new), (there, old)):
                    tree.link(*place, node.number)
                    self.add(kinds.LINK, inode=node.number, directory=place[0], name=place[1], replaces=True)
            return
        if new is not None and (flags & _NOREPLACE or _hinders(old, new)):
            return
        if there is None:
            if not tree.covers(target):  # else its directory is not there, and the call fails
                self._moved_away(operation, here, old)
            return
        self.begin(operation)
        if new is not None:
            tree.remember(target, new.number)
        tree.nodes[here[0]].entries.pop(here[1])
        self.add(kinds.UNLINK, inode=old.number, directory=here[0], name=here[1])
        tree.link(*there, old.number)
        self.add(kinds.LINK, inode=old.number, directory=there[0], name=there[1], replaces=new is not None)

    def _moved_away(self, operation: Operation, here: tuple[int, str], node: Node) -> None:
        """Renamed to where we do not look: here it is gone."""
        self.begin(operation)
        self._tree.unlink(*here, operation.path)
        self.add(kinds.UNLINK, inode=node.number, directory=here[0], name=here[1])

    def _link(self, operation: Operation) -> None:
        node, place = self._tree.node(operation.path), self._tree.place(operation.path2)
        if node is None or node.kind == DIRECTORY or place is None or self._tree.node(operation.path2) is not None:
            return
        self.begin(operation)
        self._link_new(place, node)

    def _symlink(self, operation: Operation) -> None:
        self._make(operation, SYMLINK, target=operation.path2)

    def _make_directory(self, operation: Operation) -> None:
        self._make(operation, DIRECTORY, mode=0o755)

    def _make_other(self, operation: Operation) -> None:
        self._make(operation, OTHER)

    def _make(self, operation: Operation, kind: str, **fields: Any) -> None:
        place = self._tree.place(operation.path)
        if place is None or self._tree.node(operation.path) is not None:
            return
        self.begin(operation)
        self._link_new(place, self._tree.new(kind, **fields), is_new=True)

    def _unlink(self, operation: Operation) -> None:
        node, place = self._tree.node(operation.path), self._tree.place(operation.path)
        removes_directory = operation.call == "rmdir" or operation.kind == DIRECTORY
        if node is None or place is None or (node.kind == DIRECTORY) != removes_directory or node.entries:
            return
        self.begin(operation)
        self._tree.unlink(*place, operation.path)
        self.add(kinds.UNLINK, inode=node.number, directory=place[0], name=place[1])

    def _sync(self, operation: Operation) -> None:
        if operation.call in ("sync", "syncfs"):
            self.begin(operation)
            self.add(kinds.SYNC, name=kinds.EVERYTHING)
            return
        node = self._tree.node(operation.path)
        if node is None:
            return
        self.begin(operation)
        scope = kinds.FILE if operation.call == "fsync" else kinds.FILE_DATA
        self.add(kinds.SYNC, inode=node.number, name=kinds.DIRECTORY if node.kind == DIRECTORY else scope)

    def fail_sync(self, operation: Operation, model: Model) -> bytes | None:
        """This sync reports an error. What the file must read as from now on, where that is not what stands there."""
        node = self._tree.node(operation.path)
        if node is None or node.kind != FILE:
            return None
        dropped = drop(self.recording, node.number, model)
        self.recording.dropped += dropped
        self.begin(operation)
        self.add(kinds.SYNC, inode=node.number, name=kinds.FILE, fails=True)
        if not model.reverts:
            self.dropped.setdefault(node.number, []).extend(dropped)
            return None
        # Where no step is left, the file is as it was at the start.
        node.size = next((e.size for e in self.recording.start if e.source and e.source == node.source), 0)
        contents, everything = Contents(self.recording), (1 << len(self.recording.micros)) - 1
        node.size = contents.size(node.number, everything)
        node.allocated = self._tree.rounded(node.size)
        return contents.content(node.number, everything)

    def _close(self, operation: Operation) -> None:
        node = self._tree.node(operation.path)
        if node is not None and node.was_emptied:
            node.was_emptied = False
            self.begin(operation)
            self.add(kinds.CLOSE, inode=node.number)

    def make_equal(self, node: Node, known: bytes, real: bytes, stored: Operation) -> None:
        """What is needed to get from the known content to the real one, page by page, as part of the last operation; of
        `stored`, which stands for what was stored through a mapping, where there is none yet.
        """
        if not self.recording.operations:
            self.begin(stored)
        if len(real) < node.size:
            self._resize(node, len(real))
            known = known[: len(real)]
        start = 0
        for at in range(0, len(real) + _PAGE, _PAGE):
            same = at >= len(real) or real[at : at + _PAGE] == known[at : at + _PAGE]
            if same:
                if start < at:
                    self.write_pieces(node, start, real[start : min(at, len(real))])
                start = at + _PAGE


def _hinders(old: Node, new: Node) -> bool:
    """Whether a rename onto `new` must fail."""
    if new.kind == DIRECTORY:
        return old.kind != DIRECTORY or bool(new.entries)
    return old.kind == DIRECTORY


def _pieces(start: int, end: int, block: int, count_max: int) -> list[tuple[int, int]]:
    """The range cut at block boundaries, into at most `count_max` pieces of whole blocks."""
    if end <= start:
        return []
    blocks = -(-end // block) - start // block
    step = max(1, -(-blocks // count_max)) * block
    first = start // block * block
    cuts = [start, *range(first + step, end, step), end]
    return [(low, high) for low, high in pairwise(cuts) if high > low]
