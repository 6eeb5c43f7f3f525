"""The processes below a process, through /proc. Standard library only: helpers use it too."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

PROCESSES_MAX = 5000


def descendants(pid: int, without: Collection[int] = ()) -> list[int]:
    """All processes below this one, the dead that were not collected too, but for these and what is below them."""
    found: list[int] = []
    queue = [pid]
    while queue and len(found) < PROCESSES_MAX:
        for child in children(queue.pop()):
            if child not in without:
                found.append(child)
                queue.append(child)
    return found


def children(pid: int) -> list[int]:
    """The children of all its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found.extend(int(word) for word in file.read().split())
    return found
