"""Where the bytes of a recording lie: one unlinked file, read by offset.

A recording may hold more than fits into memory, so only references to its bytes are passed around. Equal pieces are
kept once, which also lets equal contents be recognised without reading them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable

ZEROS = -1
_KNOWN_MAX = 1 << 18


class Spill:
    """Bytes by reference (an offset; ZEROS stands for nothing but zeros). Shared across fork: all reads are pread."""

    def __init__(self, directory: str | None = None) -> None:
        self._file = tempfile.TemporaryFile(prefix="blackstart-power-", dir=directory)
        self._end = 0
        self._known: dict[bytes, int] = {}
        self._finalizers: list[weakref.finalize[[], Spill]] = []

    def add(self, data: bytes) -> int:
        """The reference of these bytes."""
        digest = hashlib.blake2b(data, digest_size=16).digest() + len(data).to_bytes(8, "little")
        known = self._known.get(digest)
        if known is not None:
            return known
        reference = self._end
        os.pwrite(self._file.fileno(), data, reference)
        self._end += len(data)
        if len(self._known) < _KNOWN_MAX:
            self._known[digest] = reference
        return reference

    def read(self, reference: int, size: int) -> bytes:
        """The bytes behind a reference."""
        return bytes(size) if reference == ZEROS else os.pread(self._file.fileno(), size, reference)

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return self._end

    def closing(self, then: Callable[[], None]) -> None:
        """Call this too when the bytes are no longer needed, at the latest when nobody refers to them any more."""
        self._finalizers.append(weakref.finalize(self, then))

    def close(self) -> None:
        self._file.close()
        for finalizer in self._finalizers:
            finalizer()
