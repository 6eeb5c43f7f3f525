"""Micro-operations: the smallest steps that a file system may have carried out, or not, when the power went.

A write becomes pieces of data, each within one block (or one run of blocks, for large writes), and a growth of the
file for each piece beyond its end; a rename becomes the removal of one entry and the making of another. Which of them
go together, and which cannot be there without which others, is the model's to say, not said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Kinds. DATA: bytes at an offset, without changing the size. GROW: the size becomes larger. CUT: the size becomes
# smaller, what lay beyond is gone. LINK: an entry of a directory now leads to this inode. UNLINK: it leads nowhere.
DATA, GROW, CUT, LINK, UNLINK = "data", "grow", "cut", "link", "unlink"
# What orders the others: SYNC has returned; OUTPUT: bytes that got out; CLOSE: of a file that had been emptied.
SYNC, OUTPUT, CLOSE = "sync", "output", "close"
EFFECTS = frozenset((DATA, GROW, CUT, LINK, UNLINK))
# What a sync asked for.
FILE, FILE_DATA, DIRECTORY, EVERYTHING = "file", "file data", "directory", "everything"


@dataclass(slots=True)
class Micro:
    """One step. operation: index of the recorded operation it belongs to, part: its number therein.

    inode: whose data, size or entry; offset, length, reference: of DATA; size: of GROW and CUT, after it;
    directory, name: of LINK and UNLINK, and name of SYNC is its scope; is_new: DATA in blocks that the file did not
    have, GROW made at once and not with its data (ftruncate, fallocate), LINK to what is only now made; replaces: a
    LINK onto an existing entry; fails: a SYNC that returned an error; is_tail: DATA of zeros in what the CUT after it
    leaves of the last block.
    """

    index: int
    operation: int
    part: int
    kind: str
    inode: int = -1
    offset: int = 0
    length: int = 0
    reference: int = -1
    size: int = 0
    directory: int = -1
    name: str = ""
    is_new: bool = False
    replaces: bool = False
    fails: bool = False
    is_tail: bool = False


def indices(mask: int) -> Iterator[int]:
    """The micro-operations in a mask, in order; each costs the same however long the mask is."""
    for place, byte in enumerate(mask.to_bytes(-(-mask.bit_length() // 8), "little")):
        while byte:
            low = byte & -byte
            yield place * 8 + low.bit_length() - 1
            byte ^= low
