"""A sync that reports an error: what it should have written is dropped, as file systems do (fsyncgate).

The dropped pages count as clean, so no later sync writes them. Either the file still reads as written, and what was
dropped reaches the disk after all where the program writes to the same page again; or the file reads as before.
The file's size and its entries are not dropped where it still reads as written: new blocks then hold zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blackstart.power import micro as kinds
from blackstart.power.micro import Micro
from blackstart.power.models import Model, Order

if TYPE_CHECKING:
    from blackstart.power.recording import Recording


def drop(recording: Recording, inode: int, model: Model) -> list[Micro]:
    """Take what a sync of this inode should have written, and is not on the disk for certain, out of the recording.

    Only the last operation of the recording may be under way. Gives the dropped pieces of data, in order.
    """
    dropped_kinds = (kinds.DATA, kinds.GROW) if model.reverts else (kinds.DATA,)
    sure = Order(model, recording.micros).sure(len(recording.micros))
    kept: list[Micro] = []
    dropped: list[Micro] = []
    for step in recording.micros:
        is_dropped = step.inode == inode and step.kind in dropped_kinds and not sure >> step.index & 1
        (dropped if is_dropped else kept).append(step)
    for index, step in enumerate(kept):
        step.index = index
    recording.micros[:] = kept
    return [step for step in dropped if step.kind == kinds.DATA]


def written_again(dropped: list[Micro], start: int, end: int, page: int) -> tuple[list[Micro], list[Micro]]:
    """(the dropped pieces that a write to this range makes dirty again, what stays dropped).

    A page is written whole: what lies in the pages of the range goes with it, what lies beside them does not.
    """
    low, high = start // page * page, -(-end // page) * page
    again: list[Micro] = []
    left: list[Micro] = []
    for step in dropped:
        first, last = step.offset, step.offset + step.length
        for begin, stop, pieces in ((first, low, left), (max(first, low), min(last, high), again), (high, last, left)):
            begin, stop = max(begin, first), min(stop, last)
            if begin < stop:
                pieces.append(_piece(step, begin, stop))
    return again, left


def cut_off(dropped: list[Micro], size: int) -> list[Micro]:
    """What of the dropped pieces lies below this size."""
    return [_piece(step, step.offset, min(step.offset + step.length, size)) for step in dropped if step.offset < size]


def _piece(step: Micro, begin: int, end: int) -> Micro:
    reference = step.reference if step.reference < 0 else step.reference + begin - step.offset
    return Micro(
        index=-1, operation=step.operation, part=step.part, kind=step.kind, inode=step.inode, offset=begin,
        length=end - begin, reference=reference, is_new=step.is_new,
    )  # fmt: skip
