"""Which changes the tree log of btrfs may hold; all others reach the disk with a commit, and a commit is never torn.

btrfs writes its trees as a whole: what a commit holds is everything that was done before some moment. Only what an
fsync has put into the log comes earlier, and so without what was done before it. A recording without an fsync is
hence kept in order; and what no fsync is concerned with is on the disk only together with all that preceded it.

The log holds more than the file that was asked for (fs/btrfs/tree-log.c). Here it holds what it may at most:

- the file, each of its names, also later ones, and new directories on the way to it;
- of a file that was renamed or linked before its fsync (last_unlink_trans), and where one of its names was another
  file's before (log_conflicting_inodes), everything in the directories of its names;
- of a directory that was synced, everything in it, and in new directories below it;
- of whatever came in that way, or left a new directory that did, each of its names.
"""

from __future__ import annotations

from blackstart.power import micro as kinds
from blackstart.power.micro import Micro


def logged(micros: list[Micro]) -> frozenset[int]:
    """The inodes whose names, sizes and data may reach the disk by the log."""
    inodes = {m.inode for m in micros if m.kind == kinds.SYNC and m.inode >= 0}
    steps = [m for m in micros if m.kind in (kinds.LINK, kinds.UNLINK)]
    if not inodes or not steps:
        return frozenset(inodes)
    whole = _logged_whole(micros)
    made = {m.inode for m in steps if m.kind == kinds.LINK and m.is_new}
    together: dict[object, set[int]] = {}  # what has had the same name, or changes by the same operation
    for step in steps:
        for key in ((step.directory, step.name), step.operation):
            together.setdefault(key, set()).add(step.inode)
    known = -1
    while known != len(inodes) + len(whole):
        known = len(inodes) + len(whole)
        for step in steps:
            same_name = together[step.directory, step.name]
            is_left = step.kind == kinds.UNLINK and step.directory in made and step.directory in inodes
            if not is_left and step.directory not in whole and inodes.isdisjoint(same_name):
                continue
            if len(same_name) > 1:
                whole.add(step.directory)
            if step.directory in whole:
                whole.add(step.inode)  # matters if it is a directory
            inodes |= same_name | together[step.operation]
            inodes.add(step.directory)
    return frozenset(inodes)


def _logged_whole(micros: list[Micro]) -> set[int]:
    """The directories all of whose changes a sync may log."""
    found: set[int] = set()
    moved: set[int] = set()
    too: set[int] = set()
    for step in micros:
        if step.kind == kinds.UNLINK or (step.kind == kinds.LINK and not step.is_new):
            moved.add(step.inode)
        elif step.kind == kinds.SYNC and step.name == kinds.DIRECTORY:
            found.add(step.inode)
        elif step.kind == kinds.SYNC and step.inode in moved:
            too.add(step.inode)
    return found | {m.directory for m in micros if m.kind in (kinds.LINK, kinds.UNLINK) and m.inode in too}
