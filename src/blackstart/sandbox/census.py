"""Who lives in a sandbox, read from outside through /proc.

Orphans go to process 1 of the sandbox, never to us, so the tree of its children is complete.
"""

from __future__ import annotations

import os

from blackstart.sandbox.layout import ProcessInfo

PROCESSES_MAX = 5000
_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    found: list[int] = []
    queue = [pid]
    while queue and len(found) < PROCESSES_MAX:
        current = queue.pop()
        for child in _children(current):
            found.append(child)
            queue.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children.extend(int(word) for word in file.read().split())
    except OSError:
        pass
    return children


def processes(pid1: int, *, without: int = 0) -> list[ProcessInfo]:
    """The living processes below process 1; `without`: one that is ours, by its id inside."""
    found = []
    for pid in descendants(pid1):
        info = _look(pid)
        if info is not None and info.pid != without and info.state not in ("Z", "X"):
            found.append(info)
    return sorted(found, key=lambda p: p.pid)


def _look(pid: int) -> ProcessInfo | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/status", "rb") as file:
            inner = next(line for line in file if line.startswith(b"NSpid:")).split()[-1]
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")
    except (OSError, StopIteration):
        return None
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        descriptors = 0
    return ProcessInfo(
        pid=int(inner),
        outer_pid=pid,
        command=command,
        state=fields[0].decode(),
        threads=int(fields[17]),
        descriptors=descriptors,
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
    )
