"""What a target may get as its standard streams: nothing through which it could reach the host's files.

A descriptor carries the mount it was opened on. With one of the host's, a target could change the mode of that file,
or open it again for writing through /proc/self/fd, whatever its own tree looks like. So pipes and sockets pass, a
device is opened anew inside, and a regular file is handed over as a sealed copy in memory.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence

from blackstart.core.errors import BlackstartError
from blackstart.sandbox.launcher import DEVICES

INPUT_BYTES_MAX = 256 << 20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Streams:
    """Turns the descriptors of a caller into those of a target; remembers the last file that was copied."""

    def __init__(self) -> None:
        self._key: tuple[int, ...] = ()
        self._copy = -1

    def safe(self, descriptors: Sequence[int]) -> tuple[list[str], list[int], list[int]]:
        """(kind of each: "" or the name of a device, descriptors to send, those of them that the caller closes)."""
        kinds, sent, made = [], [], []
        for number, descriptor in enumerate(descriptors):
            info = os.fstat(descriptor)
            device = DEVICES.get(info.st_rdev) if stat.S_ISCHR(info.st_mode) else None
            kinds.append(device or "")
            if device:
                continue
            if stat.S_ISREG(info.st_mode) and number == 0:
                descriptor = self._copied(descriptor, info)
                made.append(descriptor)
            else:
                _must_be_nobodys(descriptor, info)
            sent.append(descriptor)
        return kinds, sent, made

    def _copied(self, descriptor: int, info: os.stat_result) -> int:
        key = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        if key != self._key:
            self.close()
            self._copy, self._key = _in_memory(descriptor, info.st_size), key
        again = os.open(f"/proc/self/fd/{self._copy}", os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(again, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
        return again

    def close(self) -> None:
        """Forget the copy."""
        if self._copy >= 0:
            os.close(self._copy)
        self._key, self._copy = (), -1


def _in_memory(descriptor: int, size: int) -> int:
    if size > INPUT_BYTES_MAX:
        raise BlackstartError(
            f"the file for standard input is larger than {INPUT_BYTES_MAX >> 20} MB",
            next_step="let the program open it itself, by its name",
        )
    copy = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    place = 0
    while block := os.pread(descriptor, 1 << 20, place):
        place += os.write(copy, block)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
    return copy


def _must_be_nobodys(descriptor: int, info: os.stat_result) -> None:
    """Our own code gives pipes and sockets; anything that has a name on the host is a mistake of ours."""
    named = stat.S_ISFIFO(info.st_mode) and not os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
    passes = (stat.S_ISFIFO(info.st_mode) or stat.S_ISSOCK(info.st_mode)) and not named
    assert passes, f"descriptor {descriptor} leads to the host: give a pipe"
