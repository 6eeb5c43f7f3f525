"""What blackstart could have left behind on the machine: processes, mounts, changed files, temporary files.

Everything that it starts inherits one variable of the environment, so its processes are told from those of others on
the same machine. A namespace lives as long as a process or a mount holds it: with neither left, none is left.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

ENDING_S = 60.0


def files(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Every file outside .blackstart: mode, size, content where it is not too much."""
    found = {}
    for place, directories, names in os.walk(os.fsencode(directory)):
        directories[:] = [name for name in directories if name != b".blackstart"]
        for name in names:
            path = os.path.join(place, name)
            stat = os.lstat(path)
            content = ""
            if stat.st_size < 1 << 20:
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            found[os.fsdecode(path)] = (stat.st_mode, stat.st_size, content)
    return found


class Traces:
    """Tells what of this test's own is still on the machine."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.token = ("BLACKSTART_TEST_TOKEN", os.urandom(8).hex())

    def assert_none(self) -> None:
        end = time.monotonic() + ENDING_S
        # One that just becomes another program shows no environment: whoever tidies up last may not be seen.
        while left := [*self._processes(), *self._mounts(), *self.temporary.iterdir()]:
            assert time.monotonic() < end, f"left: {left}"
            os.sched_yield()

    def _processes(self) -> list[str]:
        sought = "=".join(self.token).encode()
        found = []
        for directory in Path("/proc").iterdir():
            if not directory.name.isdecimal() or int(directory.name) == os.getpid():
                continue
            try:
                if sought in (directory / "environ").read_bytes().split(b"\0"):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(f"{directory.name} {command}")
            except OSError:
                continue
        return found

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(self.temporary.parent) in line or "blackstart" in line]
