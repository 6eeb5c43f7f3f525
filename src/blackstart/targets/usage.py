"""How much memory a program needs, measured in a clean run: what it has when its work begins, and the most it ever had.

Both of address space, which is what a limit on a process counts, and of what it really has. Its work begins with the
first change it makes to a file; what a program maps before that, it needs to start at all.
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
        # By process: (address space, resident).
        self._began: dict[int, tuple[int, int]] = {}
        self._peak: dict[int, tuple[int, int]] = {}

    def see(self, operation: Operation) -> None:
        """Look at the caller where it begins its work, and where it ends."""
        process = operation.process
        if operation.call == "exit_group":
            self._peak[process] = self._bytes(process, "VmPeak", "VmHWM")
        elif operation.changes and process not in self._began:
            self._began[process] = self._bytes(process, "VmSize", "VmRSS")

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """(when its work began, at most) of address space, of the process that had most; zeros if none did any work."""
        return self._most(0)

    @property
    def resident_bytes(self) -> tuple[int, int]:
        """The same of what it really has."""
        return self._most(1)

    def _most(self, which: int) -> tuple[int, int]:
        worked = [(self._peak[p][which], began[which]) for p, began in self._began.items() if p in self._peak]
        peak, began = max(worked, default=(0, 0))
        return began, peak

    def _bytes(self, process: int, *names: str) -> tuple[int, int]:
        if process not in self._outer:
            self._outer = {one.pid: one.outer_pid for one in self._census()}
        try:
            with open(f"/proc/{self._outer[process]}/status") as status:
                found = dict(line.split(":", 1) for line in status if line.startswith("Vm"))
        except (OSError, KeyError):
            return 0, 0
        first, second = (int(found[name].split()[0]) * 1024 if name in found else 0 for name in names)
        return first, second
