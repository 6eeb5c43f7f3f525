"""What this process has more of than before: open descriptors, threads, child processes, unfinished tasks."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blackstart.core.clock import SYSTEM

# Threads and children may still be ending when they are looked at.
SETTLE_S = 2.0


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment, each with words that tell one from another."""

    descriptors: dict[int, str]
    threads: frozenset[threading.Thread]
    children: frozenset[int]
    tasks: int

    @classmethod
    def now(cls) -> Held:
        """What is held now; unreachable objects are collected first."""
        gc.collect()
        return cls(_descriptors(), frozenset(threading.enumerate()), _children(), _tasks())

    def more_than(self, before: Held) -> list[str]:
        """What has come since, in words."""
        found = [f"descriptor {number}: {self.descriptors[number]}" for number in self._opened_since(before)]
        found += [f"thread {thread.name}" for thread in self.threads - before.threads]
        found += [f"child process {pid}" for pid in sorted(self.children - before.children)]
        if self.tasks > before.tasks:
            found.append(f"{self.tasks - before.tasks} unfinished tasks")
        return found


    def _opened_since(self, before: Held) -> Iterator[int]:
        """The descriptors of which there are more of their kind: a listener that was closed and opened again is not."""
        more = Counter(map(_kind, self.descriptors.values())) - Counter(map(_kind, before.descriptors.values()))
        for number, what in sorted(self.descriptors.items(), reverse=True):
            if before.descriptors.get(number) != what and more[_kind(what)] > 0:
                more[_kind(what)] -= 1
                yield number


def _kind(what: str) -> str:
    """A socket or a pipe without its number."""
    return what.partition("[")[0]


def leaked_since(before: Held, settle_s: float = SETTLE_S) -> list[str]:
    """What has come since and stays, after at most settle_s seconds in which it may still end."""
    until = SYSTEM.monotonic() + settle_s
    found = Held.now().more_than(before)
    while found and SYSTEM.monotonic() < until:
        SYSTEM.sleep(0.01)
        found = Held.now().more_than(before)
    return found


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def _children() -> frozenset[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(map(int, path.read_text().split()))
        except OSError:
            continue
    return frozenset(found)


def _tasks() -> int:
    # Private names of asyncio (3.11; 3.12 and later), which has no public one for tasks of other loops.
    tasks = sys.modules.get("asyncio.tasks")
    waiting: Any = getattr(tasks, "_scheduled_tasks", None) or getattr(tasks, "_all_tasks", ())
    return sum(not task.done() for task in list(waiting))
