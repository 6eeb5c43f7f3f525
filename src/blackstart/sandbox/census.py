"""Who lives in a sandbox, read from outside through /proc.

Orphans go to process 1 of the sandbox, never to us, so the tree of its children is complete.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from blackstart.sandbox.descent import children, descendants
from blackstart.sandbox.layout import ProcessInfo

_TICKS = os.sysconf("SC_CLK_TCK")
_EXITING = 0x4  # PF_EXITING of linux/sched.h, in the flags of proc_pid_stat(5)


def processes(pid1: int, *, without: int = 0, keepers: Collection[int] = ()) -> list[ProcessInfo]:
    """The living processes below process 1; `without`: one that is ours, by its id inside; keepers: those of processes
    beside the target, by their ids outside, left out with all that is below them.
    """
    found = []
    for pid in descendants(pid1, keepers):
        info = _look(pid)
        if info is not None and info.pid != without and info.state not in ("Z", "X"):
            found.append(info)
    return sorted(found, key=lambda p: p.pid)


def outside(pid1: int, inner: int) -> set[int]:
    """The outer id of process 1's child that has this id inside; empty if it is gone."""
    return {pid for pid in children(pid1) if (info := _look(pid)) is not None and info.pid == inner}


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
    if int(fields[6]) & _EXITING:
        return None  # its memory and files may be given back already; only its parent has not been told yet
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
