"""What a crash state lacks of that which was promised: bytes, or no more than the name of the last acknowledged step.

A program that takes a failed sync seriously refuses that step, and writes a new file for the next one. Then what the
sync dropped is missing to nobody, and what is lost besides is lost without the failure, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blackstart.power import micro as kinds
from blackstart.power.micro import Micro, indices
from blackstart.power.models import model
from blackstart.power.recording import Recording
from blackstart.power.states import State

_BYTES = (kinds.DATA, kinds.GROW, kinds.CUT)


def still_missing(recording: Recording, state: State) -> list[Micro]:
    """Of what a sync that reported an error dropped, that which this disk lacks: a file that the program has removed or
    replaced since, emptied, or written anew lacks nothing.
    """
    if not recording.dropped:
        return []
    failed = failing(recording)
    if failed.inode not in _there(recording, state.mask) | _there(recording, _whole(recording, state)):
        return []
    later = [step for step in of(recording, state.mask >> failed.index << failed.index) if step.inode == failed.inode]
    size = min((step.size for step in later if step.kind == kinds.CUT), default=None)
    written = sorted((step.offset, step.offset + step.length) for step in later if step.kind == kinds.DATA)
    kept = [step for step in recording.dropped if size is None or step.offset < size]
    return [step for step in kept if not _is_covered(step, written)]


def unsynced_paths(recording: Recording, state: State, acknowledged: Sequence[int]) -> tuple[str, ...] | None:
    """The masked paths of files of which bytes were promised that had not been synced; () where only names are missing,
    and at most one acknowledgement came after them; None where more is.

    acknowledged: the micro-operations that are one.

    What came after the last acknowledgement was promised to nobody; it counts where this disk has something of it.
    """
    micros, whole = recording.micros, _whole(recording, state)
    lost = list(of(recording, whole & ~state.mask))
    before = [index for index in acknowledged if index < state.cut]
    last = before[-1] if before else len(micros)
    if not any(step.index < last for step in lost) or is_torn(recording, state):
        return None
    there = _there(recording, state.mask)
    standing = there | _there(recording, whole)

    def matters(inode: int, index: int) -> bool:
        return inode in (standing if index < last else there)

    if recording.dropped and still_missing(recording, state):
        failed = failing(recording)
        if matters(failed.inode, failed.index):
            return None
    if _changes_apart([index for index in before if index > lost[0].index], recording) > 1:
        return None
    unsure = whole & ~recording.order(model(state.model)).sure(state.cut)
    steps = (step for step in of(recording, unsure) if step.kind in _BYTES and matters(step.inode, step.index))
    return tuple(dict.fromkeys(recording.operations[step.operation].masked for step in steps))


def failing(recording: Recording) -> Micro:
    """The sync that reported an error."""
    return next(step for step in recording.micros if step.kind == kinds.SYNC and step.fails)


def of(recording: Recording, mask: int) -> Iterator[Micro]:
    """The micro-operations in this mask, in order."""
    return (recording.micros[index] for index in indices(mask))


def _whole(recording: Recording, state: State) -> int:
    return recording.order(model(state.model)).effects & ((1 << state.cut) - 1)


def _there(recording: Recording, mask: int) -> set[int]:
    return set(recording.names.layout(mask).values())


def is_torn(recording: Recording, state: State) -> bool:
    """Whether the cut fell between two micro-operations of one call."""
    micros = recording.micros
    return 0 < state.cut < len(micros) and micros[state.cut].operation == micros[state.cut - 1].operation


def _changes_apart(acknowledged: Sequence[int], recording: Recording) -> int:
    """How many acknowledgements these are; those with no change between them count once."""
    count, last = 0, -1
    for index in acknowledged:
        count += last < 0 or any(step.kind != kinds.OUTPUT for step in recording.micros[last:index])
        last = index
    return count


def _is_covered(step: Micro, ranges: Sequence[tuple[int, int]]) -> bool:
    at = step.offset
    for start, end in ranges:
        if start <= at < end:
            at = end
    return at >= step.offset + step.length
