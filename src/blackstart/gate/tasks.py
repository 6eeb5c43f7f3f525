"""Processes and threads of the target, and their memory, read from outside by /proc.

The target is hostile: every read is bounded, a pointer may lead nowhere, a process may be gone or may have become
another program between two looks. A memory that gives nothing any more is opened once again, then given up.
"""

from __future__ import annotations

import os

PATH_MAX = 4096
_PAGE = 4096
_OPEN_MAX = 128


class Process:
    """One address space: its outer process id, and what is known of its descriptors."""

    __slots__ = ("pid", "inner_pid", "task", "memory", "described", "positions", "interpreter", "_looks", "_looks_left")

    def __init__(self, pid: int, inner_pid: int) -> None:
        self.pid = pid
        self.inner_pid = inner_pid
        # A thread to reach it by: the first thread may have ended before the others.
        self.task = pid
        self.memory = -1
        self.described: dict[int, tuple[str, str]] = {}
        self.positions: dict[int, int] = {}
        self.interpreter: object = None
        self._looks = self._looks_left = 1

    def forget(self) -> None:
        """It became another program, or ended: nothing that was known holds any more."""
        self.described.clear()
        self.interpreter = None
        self._looks = self._looks_left = 1
        self.close()

    def close(self) -> None:
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
        self.forget_positions()

    def forget_positions(self) -> None:
        for descriptor in self.positions.values():
            os.close(descriptor)
        self.positions.clear()

    def is_worth_a_look(self) -> bool:
        """Whether to look once more for an interpreter that was not found: it may be loaded later. Ever more seldom."""
        self._looks_left -= 1
        if self._looks_left > 0:
            return False
        self._looks = self._looks_left = self._looks * 2
        return True

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes at this address; fewer, or none, where memory cannot be read."""
        for _ in range(2):
            if self.memory < 0:
                try:
                    self.memory = os.open(f"/proc/{self.task}/mem", os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    return b""
            try:
                found = os.pread(self.memory, size, address)
            except (OSError, OverflowError):
                return b""
            if found or size == 0:
                return found
            # An old address space gives nothing at all: the process has become another program.
            os.close(self.memory)
            self.memory = -1
        return b""

    def text(self, address: int) -> bytes:
        """The bytes up to the NUL, at most PATH_MAX; what is readable of them."""
        found = b""
        chunk = 256
        while len(found) < PATH_MAX and address:
            room = min(chunk, _PAGE - (address + len(found)) % _PAGE, PATH_MAX - len(found))
            piece = self.read(address + len(found), room)
            end = piece.find(b"\0")
            if end >= 0:
                return found + piece[:end]
            found += piece
            if len(piece) < room:
                break
            chunk = _PAGE
        return found


class Thread:
    """One thread: its outer and inner ids, and its process."""

    __slots__ = ("tid", "inner_tid", "process")

    def __init__(self, tid: int, inner_tid: int, process: Process) -> None:
        self.tid = tid
        self.inner_tid = inner_tid
        self.process = process


class Tasks:
    """All threads seen so far, by outer thread id."""

    def __init__(self) -> None:
        self.threads: dict[int, Thread] = {}
        self.processes: dict[int, Process] = {}

    def thread(self, tid: int) -> Thread:
        """The thread of that id; looked up in /proc the first time."""
        found = self.threads.get(tid)
        return found if found is not None else self._look_up(tid)

    def _look_up(self, tid: int) -> Thread:
        pid, inner_tid, inner_pid = _identity(tid)
        process = self.processes.get(pid)
        if process is None:
            if len(self.processes) >= _OPEN_MAX:
                self.close()  # the number of open files stays bounded; whoever is still alive is looked up again
            process = self.processes[pid] = Process(pid, inner_pid)
        process.task = tid
        thread = self.threads[tid] = Thread(tid, inner_tid, process)
        return thread

    def forget(self, process: Process) -> None:
        """The process becomes another program; its threads but one end."""
        process.forget()
        self.processes.pop(process.pid, None)
        for tid in [tid for tid, thread in self.threads.items() if thread.process is process]:
            del self.threads[tid]

    def close(self) -> None:
        for process in self.processes.values():
            process.close()
        self.processes.clear()
        self.threads.clear()


def _identity(tid: int) -> tuple[int, int, int]:
    """(outer process id, inner thread id, inner process id); all the same where nothing can be read."""
    pid, inner_tid, inner_pid = tid, tid, tid
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    pid = int(line.split()[1])
                elif line.startswith(b"NStgid:"):
                    inner_pid = int(line.split()[-1])
                elif line.startswith(b"NSpid:"):
                    inner_tid = int(line.split()[-1])
                    break
    except (OSError, ValueError, IndexError):
        pass
    return pid, inner_tid, inner_pid
