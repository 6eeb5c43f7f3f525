"""What each file system may leave of the last writes when the power goes: models, as data and a few rules.

A model says which micro-operations go together, which cannot be on the disk without which others, and what is surely
there once a sync has returned. A crash state is then any set that contains what is sure and, with each
micro-operation, what that needs. Where a file system's promise is uncertain the model is the weaker one: it may allow
a state that never occurs, not the other way round.

Sources: Pillai et al., OSDI'14 (§3.2, tables 1 and 3d); Documentation/filesystems/ext4 (data=ordered, auto_da_alloc);
fs/ext4/inode.c (ext4_da_write_end: a file that grows within a block that has its place has its new size in the journal
at once, its bytes are written back later, and only new blocks are ordered before a commit: hence zero_tail);
the XFS log's ordering of all metadata; fs/btrfs/tree-log.c; Rebello et al., USENIX ATC'20, for what a failed fsync
leaves. Others add models by the entry point group `blackstart.power_models`, whose entries are Model values.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from functools import lru_cache
from importlib.metadata import entry_points

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.power import micro as kinds
from blackstart.power.micro import EFFECTS, Micro
from blackstart.power.treelog import logged

ENTRY_POINTS = "blackstart.power_models"
JOURNAL, COMMITS, NAMES, FREE = "journal", "commits", "names", "free"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """keeps_all: nothing that returned is lost (a kill, not a power cut).
    entries: `journal`: changes of directories and sizes reach the disk in order; `commits`: so do all that no fsync
    is concerned with (treelog.py), the others in any order; `free`: in any order.
    renames_whole: a rename is never half done. flushes_before_replacing: a rename onto an existing file waits for the
    data of the file that is renamed; flushes_on_close: so does the close of a file that had been emptied.
    data_before_size: a file never becomes longer than what of it is on the disk. zero_tail: but within its last block
    it may, the rest being zeros. garbage: where a file has become longer and its data is missing, anything may stand.
    copies_on_write: a block is never torn. sector_bytes: what a write is torn into. fsync_reaches: with the file's own
    data also the `journal` (all that happened before its last change), its own `names`, or nothing (`free`).
    sync_flushes: after sync and syncfs the disk's own cache is empty too; else overwritten blocks may still lie there.
    syncs: `kept`, `lost` (a disk that lies) or `failing` (one sync of the run reports EIO, and what it should have
    written is dropped); reverts: after that the file reads as before, else as if nothing were missing; is_real: whether
    a finding under this model counts by itself.
    """

    name: str
    title: str = ""
    keeps_all: bool = False
    entries: str = FREE
    renames_whole: bool = False
    flushes_before_replacing: bool = False
    flushes_on_close: bool = False
    data_before_size: bool = False
    zero_tail: bool = True
    garbage: bool = False
    copies_on_write: bool = False
    sector_bytes: int = 4096
    fsync_reaches: str = FREE
    sync_flushes: bool = True
    syncs: str = "kept"
    reverts: bool = False
    is_real: bool = False


_EXT4 = Model(
    name="ext4",
    title="ext4 as Linux mounts it: data=ordered, auto_da_alloc",
    entries=JOURNAL,
    renames_whole=True,
    flushes_before_replacing=True,
    flushes_on_close=True,
    data_before_size=True,
    fsync_reaches=JOURNAL,
    is_real=True,
)
_BTRFS = Model(
    name="btrfs",
    title="btrfs: copy on write, fsync takes along the file's own names only",
    entries=COMMITS,
    renames_whole=True,
    flushes_before_replacing=True,
    data_before_size=True,
    zero_tail=False,
    copies_on_write=True,
    fsync_reaches=NAMES,
    is_real=True,
)
MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(name="kill9", title="all that returned is kept", keeps_all=True, entries=JOURNAL, renames_whole=True),
        _EXT4,
        Model(
            name="xfs",
            title="XFS: all metadata in order, sizes follow data, no help for a rename",
            entries=JOURNAL,
            renames_whole=True,
            data_before_size=True,
            zero_tail=False,
            fsync_reaches=JOURNAL,
            sync_flushes=False,
            is_real=True,
        ),
        _BTRFS,
        msgspec.structs.replace(
            _EXT4,
            name="ext3-writeback",
            title="ext3 or ext4 with data=writeback: sizes do not wait for data",
            flushes_before_replacing=False,
            flushes_on_close=False,
            data_before_size=False,
            garbage=True,
            is_real=False,
        ),
        Model(
            name="posix",
            title="only what was synced, entries only with their directory",
            garbage=True,
            sync_flushes=False,
        ),
        msgspec.structs.replace(
            _EXT4, name="fsync-lies", title="ext4 on a disk that ignores flushes", syncs="lost", is_real=False
        ),
        msgspec.structs.replace(
            _EXT4,
            name="fsync-fails",
            title="ext4, one fsync reporting EIO once: the dropped pages count as clean and still read as written",
            syncs="failing",
        ),
        msgspec.structs.replace(
            _BTRFS,
            name="fsync-fails-btrfs",
            title="btrfs, one fsync reporting EIO once: the file reads as before what was dropped",
            syncs="failing",
            reverts=True,
        ),
    )
}
# File systems in common use, and what they become when a sync of the run fails.
REAL = tuple(name for name, known in MODELS.items() if known.is_real and known.syncs == "kept")
FAILING = tuple(name for name, known in MODELS.items() if known.syncs == "failing")


def model(name: str) -> Model:
    """The model of that name; `NAME+sector` is the same with blocks torn into sectors of 512 bytes."""
    base, plus, more = name.partition("+")
    found = MODELS.get(base) or _others().get(base)
    if found is None or (plus and more != "sector"):
        near = difflib.get_close_matches(base, [*MODELS, *_others()], 1)
        step = f"did you mean {near[0]}?" if near else f"models: {', '.join([*MODELS, *_others()])}"
        raise BlackstartError(f"there is no model {name!r} of a file system", next_step=step)
    if plus and not found.copies_on_write:
        found = msgspec.structs.replace(found, name=name, sector_bytes=512)
    return found


@lru_cache(1)
def _others() -> dict[str, Model]:
    loaded = [point.load() for point in entry_points(group=ENTRY_POINTS)]
    return {one.name: one for one in loaded if isinstance(one, Model)}


class Order:
    """What a model says of one recording. needs: per micro-operation a mask of itself and all that must be on the disk
    with it; sure(cut): a mask of what is on the disk for certain when the first `cut` micro-operations are done.
    """

    def __init__(self, model: Model, micros: list[Micro]) -> None:
        self.model = model
        self.micros = micros
        self.effects = sum(1 << m.index for m in micros if m.kind in EFFECTS)
        self.needs: list[int] = [0] * len(micros)
        self._sync_at: list[int] = []
        self._sure: list[int] = []
        self._chain = 0
        self._chain_until: list[tuple[int, int]] = []
        self._of_inode: dict[int, int] = {}
        self._last_change: dict[int, int] = {}
        self._last_size: dict[int, int] = {}
        self._in_block: dict[tuple[int, int], int] = {}
        self._last_size_step: dict[int, int] = {}
        self._cuts: dict[int, int] = {}
        self._entry: dict[tuple[int, str], int] = {}
        self._names_of: dict[int, int] = {}
        self._in_directory: dict[int, int] = {}
        self._flushed = 0
        self._in_cache = 0
        self._logged = logged(micros) if model.entries == COMMITS else frozenset()
        self._work()

    def sure(self, cut: int) -> int:
        """What is on the disk for certain after the first `cut` micro-operations."""
        if self.model.keeps_all:
            return self.effects & ((1 << cut) - 1)
        at = bisect_right(self._sync_at, cut - 1)
        return self._sure[at - 1] if at else 0

    def closed(self, mask: int) -> int:
        """The mask with everything that its members need."""
        result, left = mask, mask
        while left:  # from the last one, which may need all others
            last = left.bit_length() - 1
            result |= self.needs[last]
            left &= ~(self.needs[last] | 1 << last)
        return result

    def is_possible(self, cut: int, mask: int) -> bool:
        """Whether this set can be on the disk at this moment."""
        inside = (1 << cut) - 1
        if mask & ~(self.effects & inside) or self.sure(cut) & ~mask:
            return False
        return self.closed(mask) & inside & self.effects == mask

    def _work(self) -> None:
        micros, index = self.micros, 0
        while index < len(micros):
            together = [micros[index]]
            if micros[index].kind in (kinds.LINK, kinds.UNLINK):
                while (
                    index + len(together) < len(micros)
                    and micros[index + len(together)].operation == micros[index].operation
                    and micros[index + len(together)].kind in (kinds.LINK, kinds.UNLINK)
                ):
                    together.append(micros[index + len(together)])
            self._take(together)
            index += len(together)

    def _take(self, together: list[Micro]) -> None:
        first = together[0]
        if first.kind == kinds.DATA:
            self.needs[first.index] = self._data(first)
        elif first.kind in (kinds.GROW, kinds.CUT):
            self.needs[first.index] = self._size(first)
            if first.kind == kinds.CUT and self.model.copies_on_write and self.micros[first.index - 1].is_tail:
                self.needs[first.index - 1] |= self.needs[first.index]
        elif first.kind in (kinds.LINK, kinds.UNLINK):
            self._entries(together)
        elif first.kind == kinds.SYNC and self.model.syncs != "lost" and not first.fails:
            self._sync(first)
        elif first.kind == kinds.CLOSE and self.model.flushes_on_close:
            self._flushed |= self._of_inode.get(first.inode, 0)

    def _note(self, step: Micro) -> None:
        self._of_inode[step.inode] = self._of_inode.get(step.inode, 0) | 1 << step.index
        self._last_change[step.inode] = step.index

    def _earlier(self, step: Micro) -> int:
        """What reaches the disk no later than this, since a commit holds all that was done before it."""
        return self._chain if self.model.entries == COMMITS and step.inode not in self._logged else 0

    def _data(self, step: Micro) -> int:
        """A block holds what was written to it in order; new blocks belong to a size that came after earlier cuts."""
        mask = 1 << step.index | self._earlier(step)
        unit = self.model.sector_bytes
        for block in range(step.offset // unit, -(-(step.offset + step.length) // unit)):
            earlier = self._in_block.get((step.inode, block))
            if earlier is not None:
                mask |= self.needs[earlier]
            self._in_block[step.inode, block] = step.index
        if self.model.data_before_size and (step.is_new or self.model.copies_on_write):
            cut = self._cuts.get(step.inode)
            if cut is not None:
                mask |= self.needs[cut]
        if step.is_new:
            self._last_size[step.inode] = step.index
        self._note(step)
        return mask

    def _size(self, step: Micro) -> int:
        mask = 1 << step.index | self._earlier(step)
        journal, model = self.model.entries == JOURNAL, self.model
        if model.data_before_size or journal:
            earlier = self._last_size_step.get(step.inode)
            if earlier is not None:
                mask |= self.needs[earlier]
        if journal:
            mask |= self._chain
        if step.kind == kinds.GROW and not step.is_new and model.data_before_size:
            mask |= self._data_below(step, mask)
        immediate = step.kind == kinds.CUT or step.is_new
        if journal and immediate:
            self._enchain(mask)
        if step.kind == kinds.CUT:
            self._cuts[step.inode] = step.index
        self._last_size_step[step.inode] = self._last_size[step.inode] = step.index
        self._note(step)
        return mask

    def _data_below(self, step: Micro, known: int) -> int:
        """The data that must be there before the file may be as long as this, beside what is known to."""
        mask = 0
        steps = self._of_inode.get(step.inode, 0) & ~known
        while steps:
            low = steps & -steps
            other = self.micros[low.bit_length() - 1]
            if other.kind == kinds.DATA and (other.is_new or not self.model.zero_tail):
                mask |= self.needs[other.index]
            steps ^= low
        return mask

    def _enchain(self, mask: int) -> None:
        """In the journal: everything after needs this."""
        self._chain |= mask | self._closed_flushed()
        self._chain_until.append((mask.bit_length() - 1, self._chain))

    def _closed_flushed(self) -> int:
        flushed, self._flushed = self._flushed, 0
        return self.closed(flushed) if flushed else 0

    def _entries(self, together: list[Micro]) -> None:
        """Changes of directory entries by one operation."""
        model = self.model
        group = sum(1 << step.index for step in together)
        is_exchange = len(together) == 2 and together[0].kind == together[1].kind
        whole = model.renames_whole or is_exchange
        masks = []
        for step in together:
            mask = (group if whole else 1 << step.index) | self._earlier(step)
            earlier = self._entry.get((step.directory, step.name))
            if earlier is not None:
                mask |= self.needs[earlier]
            if model.entries == JOURNAL:
                mask |= self._chain | self._closed_flushed_now()
            if step.kind == kinds.LINK and step.replaces and model.flushes_before_replacing and not is_exchange:
                mask |= self.closed(self._of_inode.get(step.inode, 0))
            masks.append(mask)
        for step, mask in zip(together, masks, strict=True):
            if whole:
                mask = masks[0] | masks[-1]
            self.needs[step.index] = mask
            self._entry[step.directory, step.name] = step.index
            self._in_directory[step.directory] = self._in_directory.get(step.directory, 0) | 1 << step.index
            self._names_of[step.inode] = self._names_of.get(step.inode, 0) | 1 << step.index
            self._last_change[step.inode] = self._last_change[step.directory] = step.index
            self._last_size[step.inode] = step.index
        if model.entries in (JOURNAL, COMMITS):
            combined = 0
            for step in together:
                combined |= self.needs[step.index]
            self._enchain(combined)

    def _closed_flushed_now(self) -> int:
        if self._flushed:
            self._chain |= self._closed_flushed()
        return self._chain

    def _sync(self, step: Micro) -> None:
        """What is on the disk once this sync has returned."""
        before = (1 << step.index) - 1
        if step.name == kinds.EVERYTHING:
            mask = self.effects & before
            if not self.model.sync_flushes:
                self._in_cache |= self._overwrites(mask)
                mask &= ~self._in_cache
        else:
            # Whatever had been handed to the disk goes with the flush of this file.
            mask = self._of_inode.get(step.inode, 0)
            if step.name != kinds.DIRECTORY:
                mask, self._in_cache = mask | self._in_cache, 0
            if step.name == kinds.DIRECTORY:
                mask |= self._in_directory.get(step.inode, 0)
            reach = self.model.fsync_reaches
            if reach == JOURNAL:
                mask |= self._journal_until(self._anchor(step))
            elif reach == NAMES:
                mask |= self._names_above(step.inode)
        mask = self.closed(mask & before)
        self._sync_at.append(step.index)
        self._sure.append((self._sure[-1] if self._sure else 0) | mask)

    def _overwrites(self, mask: int) -> int:
        """Those that write to blocks which the file had: no change of metadata makes the disk flush after them."""
        return sum(1 << m.index for m in self.micros if m.kind == kinds.DATA and not m.is_new and mask >> m.index & 1)

    def _anchor(self, step: Micro) -> int:
        """The last change that the journal has to hold for this file: a sync of an unchanged one writes nothing."""
        last = self._last_size if step.name == kinds.FILE_DATA else self._last_change
        return last.get(step.inode, -1)

    def _journal_until(self, index: int) -> int:
        at = bisect_right(self._chain_until, (index, 1 << (len(self.micros) + 1)))
        return self._chain_until[at - 1][1] if at else 0

    def _names_above(self, inode: int) -> int:
        """The entries that lead to this inode, and those of the directories that they stand in."""
        mask, seen, waiting = 0, {inode}, [inode]
        while waiting:
            steps = self._names_of.get(waiting.pop(), 0)
            mask |= steps
            while steps:
                low = steps & -steps
                above = self.micros[low.bit_length() - 1].directory
                if above not in seen:
                    seen.add(above)
                    waiting.append(above)
                steps ^= low
        return mask
