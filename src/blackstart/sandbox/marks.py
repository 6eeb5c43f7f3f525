"""What is still as it was when an image was copied, told by looking at each entry and reading none.

An entry keeps its mark as long as nobody changed it: its inode, and the time at which that was last changed, which no
program can set. A write, a store through a mapping, a new mode, owner or attribute, another name: each moves that time.
What changed within the clock tick in which the marks were taken would be missed, so nothing begins before the next one.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time

from blackstart.sandbox.copying import TooMuch, opened
from blackstart.sandbox.listing import DEPTH_MAX

# For each directory, by its path below the image, a mark for each name; no entry has the mark NEVER.
Marks = dict[str, dict[str, int]]
NEVER = 0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COARSE = 5  # CLOCK_REALTIME_COARSE of <linux/time.h>
_TICK_LIMIT_S, _TURN_S = 0.1, 0.001


def mark_of(info: os.stat_result) -> int:
    """The mark of one entry."""
    return hash((info.st_ino, info.st_ctime_ns)) | 1


def take(here: int, path: str, marks: Marks) -> None:
    """Note the marks of all that stands below this open directory, which is called `path`."""
    known = marks[path] = {}
    inner = []
    with os.scandir(here) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            known[sys.intern(entry.name)] = mark_of(info)  # images have the same names: kept once
            if stat.S_ISDIR(info.st_mode):
                inner.append((entry.name, info))
    for name, info in inner:
        with opened(here, name, _DIRECTORY, info, force=True) as below:
            take(below, f"{path}/{name}", marks)


def differing(here: int, path: str, marks: Marks) -> set[str]:
    """Paths whose entry is new, gone or changed since the marks were taken: of a directory that was none then, or is
    none now, with everything below it. Raises TooMuch below the deepest level.
    """
    found: set[str] = set()
    _differing(here, path, marks, found)
    return found


def _differing(here: int, path: str, marks: Marks, found: set[str], depth: int = 0) -> None:
    if depth > DEPTH_MAX:
        raise TooMuch(f"directories are nested deeper than {DEPTH_MAX} at {path[:200]}")
    known, names, inner = marks.get(path, {}), set(), []
    with os.scandir(here) as entries:
        for entry in entries:
            info, below = entry.stat(follow_symlinks=False), f"{path}/{entry.name}"
            names.add(entry.name)
            is_directory = stat.S_ISDIR(info.st_mode)
            if known.get(entry.name) != mark_of(info) or (is_directory and below not in marks):
                found.add(below)
            if is_directory:
                inner.append((entry.name, info))
            elif below in marks:
                _gone(below, marks, found)
    for name in known.keys() - names:
        _gone(f"{path}/{name}", marks, found)
    for name, info in inner:
        with opened(here, name, _DIRECTORY, info, force=True) as inside:
            _differing(inside, f"{path}/{name}", marks, found, depth + 1)


def _gone(path: str, marks: Marks, found: set[str]) -> None:
    found.add(path)
    for name in marks.get(path, ()):
        _gone(f"{path}/{name}", marks, found)


def settle() -> None:
    """Wait until the clock by which files are dated has ticked: what happens from now on has another time."""
    begun_ns, end = time.clock_gettime_ns(_COARSE), time.monotonic() + _TICK_LIMIT_S
    while time.clock_gettime_ns(_COARSE) == begun_ns and time.monotonic() < end:
        signal.sigtimedwait((), _TURN_S)
