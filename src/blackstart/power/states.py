"""Crash states in the order in which they are worth trying, each content once.

A cut falls between two micro-operations; of what was not yet surely on the disk then, any set that the model allows
may be missing. Cuts come in three ranks: right after a sync, before and after an output, and at the end; between
two operations; within one operation. At each: all lost, nothing lost, one lost (with all that needs it), one kept
(with all that it needs), then every set where there are few, and seeded random ones where there are many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from blackstart.core.randomness import Seed, Source
from blackstart.power import micro as kinds
from blackstart.power.models import Model, Order
from blackstart.power.recording import Recording
from blackstart.power.tree import FILE

EXHAUSTIVE_BITS = 10
SAMPLES = 200
SEEN_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class State:
    """cut: how many micro-operations had been begun; mask: which of their effects are on the disk; garbage: lost data
    in whose place anything stands; model: under which it was made.
    """

    cut: int
    mask: int
    model: str = ""
    garbage: int = 0


class Explorer:
    """Generates the states of one recording under one model. candidates, distinct: how many so far; limit: how many
    candidates are looked at, each of which costs as many steps as the recording has.
    """

    def __init__(
        self,
        recording: Recording,
        model: Model,
        *,
        seed: int = 0,
        seen: set[int] | None = None,
        limit: int | None = None,
    ) -> None:
        self._limit = limit
        self.recording = recording
        self.model = model
        self.order = recording.order(model)
        self.contents = recording.contents
        self.names = recording.names
        self.candidates = 0
        self.distinct = 0
        self._seed = Seed(seed)
        self._seen: set[int] = set() if seen is None else seen
        self._layouts: dict[int, tuple[int, tuple[tuple[str, int], ...]]] = {}
        said = (step.kind == kinds.OUTPUT for step in recording.micros)
        self._output_counts = list(accumulate(said, initial=0))

    def digest(self, state: State) -> int:
        """Equal for states with equal contents, and the same outputs before the cut."""
        key = state.mask & self.names.mask
        known = self._layouts.get(key)
        if known is None:
            if len(self._layouts) > 20_000:
                self._layouts.clear()
            known = self._layouts[key] = self._of_layout(key)
        digest, mask, garbage = self.contents.digest, state.mask, state.garbage
        result, changing = known
        for path, inode in changing:
            result ^= hash((path, digest(inode, mask, garbage)))
        return hash((self._outputs(state.cut), result))

    def _of_layout(self, key: int) -> tuple[int, tuple[tuple[str, int], ...]]:
        """Of the paths of a layout: a digest of those whose files always hold the same, and the others."""
        nodes, touched, digest = self.recording.tree.nodes, self.contents.touched, self.contents.digest
        same, changing = 0, []
        for path, inode in self.names.layout(key).items():
            if inode in touched:
                changing.append((path, inode))
            else:
                same ^= hash((path, digest(inode, 0) if nodes[inode].kind == FILE else 0))
        return same, tuple(changing)

    def _outputs(self, cut: int) -> int:
        return self._output_counts[cut]

    def states(self, only_cuts: Iterable[int] | None = None) -> Iterator[State]:
        """Each distinct state once, the most telling first."""
        hot, calls, inner = cuts(self.recording)
        if only_cuts is not None:
            wanted = set(only_cuts)
            hot, calls, inner = ([c for c in group if c in wanted] for group in (hot, calls, inner))
        if self.model.keeps_all:  # a kill falls between calls
            inner = []
        for group, methods in (
            (hot, (self._ends,)),
            (hot, (self._lose_one, self._keep_one)),
            (calls, (self._ends,)),
            (calls, (self._lose_one, self._keep_one)),
            (inner, (self._ends,)),
            ([*hot, *calls], (self._every,)),
            (inner, (self._lose_one, self._keep_one)),
            ([*hot, *calls, *inner], (self._random,)),
        ):
            for method in methods:
                for cut in group:
                    for mask in method(cut):
                        if self._limit is not None and self.candidates >= self._limit:
                            return
                        yield from self._new(cut, mask)

    def _new(self, cut: int, mask: int) -> Iterator[State]:
        self.candidates += 1
        state = State(cut, mask, self.model.name)
        yield from self._if_new(state)
        if self.model.garbage and (lost := self._showing(cut, mask)):
            self.candidates += 1
            yield from self._if_new(State(cut, mask, self.model.name, lost))

    def _if_new(self, state: State) -> Iterator[State]:
        digest = self.digest(state)
        if digest not in self._seen:
            if len(self._seen) < SEEN_MAX:
                self._seen.add(digest)
            self.distinct += 1
            yield state

    def _showing(self, cut: int, mask: int) -> int:
        """Lost data in new blocks that the file's size nevertheless covers."""
        lost = self.order.effects & ((1 << cut) - 1) & ~mask
        found = 0
        while lost:
            low = lost & -lost
            lost ^= low
            step = self.recording.micros[low.bit_length() - 1]
            if step.kind == kinds.DATA and step.is_new and self.contents.size(step.inode, mask) > step.offset:
                found |= low
        return found

    def _free(self, cut: int) -> tuple[int, list[int]]:
        """(what is sure, the micro-operations that may or may not be there)"""
        sure = self.order.sure(cut)
        return sure, list(kinds.indices(self.order.effects & ((1 << cut) - 1) & ~sure))

    def _ends(self, cut: int) -> Iterator[int]:
        """Nothing lost, and everything that can be."""
        whole = self.order.effects & ((1 << cut) - 1)
        sure = self.order.sure(cut)
        yield sure
        if whole != sure and self._is_whole(cut, whole):
            yield whole

    def _is_whole(self, cut: int, whole: int) -> bool:
        """Whether the cut does not tear apart what goes together."""
        return not self.order.closed(whole) & ~whole if cut < len(self.recording.micros) else True

    def _lose_one(self, cut: int) -> Iterator[int]:
        needs, inside = self.order.needs, (1 << cut) - 1
        sure, free = self._free(cut)
        usable = [i for i in free if not needs[i] & self.order.effects & ~inside]
        whole = sure
        for i in usable:
            whole |= 1 << i
        for lost in free:
            bit = 1 << lost
            mask = sure
            if not whole & bit:
                continue
            for i in usable:
                if not needs[i] & bit:
                    mask |= 1 << i
            yield mask

    def _keep_one(self, cut: int) -> Iterator[int]:
        needs, outside = self.order.needs, self.order.effects & ~((1 << cut) - 1)
        sure, free = self._free(cut)
        for kept in free:
            if not needs[kept] & outside:
                yield sure | needs[kept]

    def _every(self, cut: int) -> Iterator[int]:
        sure, free = self._free(cut)
        if len(free) > EXHAUSTIVE_BITS:
            return
        needs = self.order.needs
        for number in range(1 << len(free)):
            mask = sure
            for place, i in enumerate(free):
                if number >> place & 1:
                    mask |= 1 << i
            if all(not needs[i] & ~mask for place, i in enumerate(free) if number >> place & 1):
                yield mask

    def _random(self, cut: int) -> Iterator[int]:
        sure, free = self._free(cut)
        if len(free) <= EXHAUSTIVE_BITS:
            return
        source: Source = self._seed.source("power", self.model.name, cut)
        needs, outside = self.order.needs, self.order.effects & ~((1 << cut) - 1)
        for _ in range(SAMPLES):
            mask, share = sure, source.random()
            for i in free:
                if source.random() < share and not needs[i] & outside:
                    mask |= needs[i]
            yield mask


def cuts(recording: Recording) -> tuple[list[int], list[int], list[int]]:
    """(after each sync, around each output, at the end), (between operations), (within operations)."""
    micros = recording.micros
    hot: dict[int, None] = {}
    calls: dict[int, None] = {}
    for index, step in enumerate(micros):
        if step.kind == kinds.SYNC:
            hot[index + 1] = None
        elif step.kind == kinds.OUTPUT:
            hot[index + 1] = hot[index] = None
        if index and micros[index - 1].operation != step.operation:
            calls[index] = None
    end = recording.last_cut
    hot[end] = None
    ordered_calls = [cut for cut in calls if cut not in hot and cut < end]
    inner = [cut for cut in range(end + 1) if cut not in hot and cut not in calls]
    return [cut for cut in hot if cut <= end], ordered_calls, inner


def crash_states(recording: Recording, model: Model, *, seed: int = 0) -> Iterator[State]:
    """The distinct crash states of a recording under a model, the most telling first; lazily."""
    return Explorer(recording, model, seed=seed).states()


def smaller(order: Order, state: State) -> Iterator[State]:
    """States with less missing, the ones that put back most first."""
    whole = order.effects & ((1 << state.cut) - 1)
    missing = whole & ~state.mask
    bits = []
    while missing:
        low = missing & -missing
        bits.append(low.bit_length() - 1)
        missing ^= low
    size = len(bits) // 2
    while size >= 1:
        for at in range(0, len(bits), size):
            back = 0
            for i in bits[at : at + size]:
                back |= 1 << i
            mask = order.closed(state.mask | back)
            if mask != state.mask and not mask & ~whole:
                yield State(state.cut, mask, state.model, state.garbage & ~mask)
        size //= 2
