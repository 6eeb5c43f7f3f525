"""How much memory a program needs, measured in a clean run: what it has when its work begins, and the most it ever had.

Both are of address space, which is what a limit on memory counts. Its work begins with the first change it makes to a
file; what a program maps before that, it needs to start at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blackstart.core.trace import Operation
from blackstart.sandbox import ProcessInfo


class Usage:
    """To be shown each operation of a run while its caller waits. census: the living processes of the sandbox."""

    def __init__(self, census: Callable[[], Iterable[ProcessInfo]]) -> None:
        self._census = census
        self._outer: dict[int, int] = {}
        self._began: dict[int, int] = {}
        self._peak: dict[int, int] = {}

    def see(self, operation: Operation) -> None:
        """Look at the caller where it begins its work, and where it ends."""
        process = operation.process
        if operation.call == "exit_group":
            self._peak[process] = self._bytes(process, "VmPeak")
        elif operation.changes and process not in self._began:
            self._began[process] = self._bytes(process, "VmSize")

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """(when its work began, at most) of the process that had most; zeros if none did any work."""
        worked = [(self._peak[process], began) for process, began in self._began.items() if process in self._peak]
        peak, began = max(worked, default=(0, 0))
        return began, peak

    def _bytes(self, process: int, what: str) -> int:
        if process not in self._outer:
            self._outer = {one.pid: one.outer_pid for one in self._census()}
        try:
            with open(f"/proc/{self._outer[process]}/status") as status:
                line = next((line for line in status if line.startswith(what + ":")), "")
        except (OSError, KeyError):
            return 0
        return int(line.split()[1]) * 1024 if line else 0
