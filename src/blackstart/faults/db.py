"""Kind `db`: a database file is locked by another process, or its header is lost.

The lock is a real one: the byte ranges that SQLite's own locking protocol uses (https://sqlite.org/lockingv3.html,
https://sqlite.org/fileformat2.html#the_lock_byte_page) are held from outside the sandbox for as long as the start
lasts. What kind `file` does to any file it does to databases too; only what is particular to them stands here.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.faults.file import met
from blackstart.faults.kill import crash_before
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during
from blackstart.targets import Conducted

BREAKS = ("locked", "header lost", "page lost")
PENDING_BYTE, LOCK_RANGE_BYTES = 0x40000000, 512
HEADER_BYTES = 100


class Break(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="db", tag_field="fault"):
    """One database is broken before the target starts: path is masked, what is one of BREAKS."""

    kind: ClassVar[str] = "db"
    path: str
    what: str
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """A lock is released before the restart; damage stays until the good file is put back."""
        return self.what != "locked"

    def __str__(self) -> str:
        what = " is locked by another process" if self.what == "locked" else f": {self.what}"
        return f"{self.path}{what}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        real = scene.standing(self.path)
        held = -1
        try:
            if self.what == "locked":
                held = scene.zygote.open_in(scene.image, real, os.O_RDWR)
                lock(held)
            else:
                content = scene.zygote.read(scene.image, real)
                scene.zygote.write(scene.image, real, spoil(content, self.what))
            with scene.armed(*met(self.path)):
                yield
        finally:
            if held >= 0:
                os.close(held)
            if self.lasting:
                scene.zygote.put(scene.image, real, scene.start)

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        hits = sum(conducted.hits[first_tamper : first_tamper + len(met(self.path))])
        note = f"the target turned to it {hits} times meanwhile"
        return Injected(fault=str(self), kind=self.kind, hits=hits, fired=min(hits, 1), note=note)


def lock(descriptor: int) -> None:
    """Lock the database for as long as this descriptor is open.

    The lock belongs to the open file, not to our process: whoever else here opens and closes that file releases
    nothing.
    """
    whole = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, PENDING_BYTE, LOCK_RANGE_BYTES, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
    except OSError as error:
        raise CannotInject(f"the database is locked already ({error.strerror})") from None


def spoil(content: bytes, what: str) -> bytes:
    """The header overwritten with zeros, or the second half of the file's pages lost to zeros."""
    if what == "header lost":
        return bytes(min(HEADER_BYTES, len(content))) + content[HEADER_BYTES:]
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each break of each database that stands there at the start of this run."""
    for path, versions in sorted(clean.versions.items()):
        state = versions[0] if versions else None
        if state is None or state.content is None or state.content.form != "sqlite":
            continue
        if calibration.roles.get(path) not in ("state", "config", "cache", "output"):
            continue
        for order, what in enumerate(BREAKS):
            yield Candidate(
                fault=Break(path=path, what=what),
                start=clean.start,
                rank=(order + 1, 3),
                cause=("db", what, path),
                path=path,
            )
        crash = crash_before(path, clean)
        if crash:
            yield Candidate(
                fault=Break(path=path, what="locked", phase=RESTART),
                crash=crash,
                start=clean.start,
                rank=(7, 3),
                cause=("db during recovery", path),
                path=path,
            )
