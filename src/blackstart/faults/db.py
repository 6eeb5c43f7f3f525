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
from blackstart.core.units import plural
from blackstart.faults.file import met
from blackstart.faults.kill import crash_before
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during
from blackstart.targets import Conducted

BREAKS = ("locked", "header lost", "page lost")
LOCKED, WRITING = "locked", "locked for writing"
PENDING_BYTE, LOCK_RANGE_BYTES = 0x40000000, 512
# While another process writes: of the database itself (RESERVED; whoever holds it reads, too), or of its log.
RESERVED_BYTE, SHARED_FIRST, SHARED_BYTES, WAL_WRITE_BYTE = 0x40000001, 0x40000002, 510, 120
# Longer than the 5 s for which many libraries wait for a lock by default.
HOLD_S = 7.0
HEADER_BYTES = 100


class Break(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="db", tag_field="fault"):
    """One database is broken before the target starts: path is masked, what is one of BREAKS.

    once_ready: a lock that is taken as soon as a service is ready, and held for `hold_s` seconds at least.
    """

    kind: ClassVar[str] = "db"
    path: str
    what: str
    phase: str = RUN
    once_ready: bool = False
    hold_s: float = 0.0

    @property
    def lasting(self) -> bool:
        """A lock is released before the restart; damage stays until the good file is put back."""
        return self.what not in (LOCKED, WRITING)

    def __str__(self) -> str:
        what = f": {self.what}" if self.lasting else f" is {self.what} by another process"
        held = f" once it is ready, for {self.hold_s:.0f} s" if self.once_ready else ""
        return f"{self.path}{what}{held}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        if self.once_ready:
            with self._taken_later(scene):
                yield
            return
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

    @contextmanager
    def _taken_later(self, scene: Scene) -> Iterator[None]:
        """The lock is taken when the service is ready: the file may be made by it."""
        held: list[int] = []

        def take() -> bool:
            try:
                held.append(take_in(scene, scene.standing(self.path), self.what))
            except (CannotInject, OSError):  # it may be gone again, replaced by the service this very moment
                return False
            return True

        scene.when_ready.append(take)
        scene.hold_s = max(scene.hold_s, self.hold_s)
        try:
            yield
        finally:
            scene.when_ready.remove(take)
            scene.hold_s = 0.0
            for descriptor in held:
                os.close(descriptor)

    def _account_of_lock(self, conducted: Conducted) -> Injected:
        """Fired means: it was taken, and the target turned to the database after that."""
        taken_s = conducted.life.fired_s if conducted.life is not None else -1.0
        hits = sum(o.at_s >= taken_s and o.masked.startswith(self.path) for o in conducted.trace) if taken_s >= 0 else 0
        met = f"the target turned to it {plural(hits, 'time')} meanwhile"
        note = met if taken_s >= 0 else "somebody held it, or it was gone"
        return Injected(fault=str(self), kind=self.kind, hits=hits, fired=min(hits, 1), note=note)

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        if self.once_ready:
            return self._account_of_lock(conducted)
        hits = sum(conducted.hits[first_tamper : first_tamper + len(met(self.path))])
        note = f"the target turned to it {plural(hits, 'time')} meanwhile"
        return Injected(fault=str(self), kind=self.kind, hits=hits, fired=min(hits, 1), note=note)


def take_in(scene: Scene, real: str, what: str) -> int:
    """A descriptor that holds this lock of the database for as long as it is open; CannotInject if others hold it."""
    held = scene.zygote.open_in(scene.image, real, os.O_RDWR)
    try:
        if what == LOCKED:
            lock(held)
            return held
        if not _has_log(held):
            lock(held, RESERVED_BYTE, 1)
            lock(held, SHARED_FIRST, SHARED_BYTES, fcntl.F_RDLCK)
            return held
        os.close(held)
        held = -1
        try:
            held = scene.zygote.open_in(scene.image, real + "-shm", os.O_RDWR)
        except OSError as error:
            raise CannotInject(f"nobody has opened the log of {real} ({error.strerror})") from None
        lock(held, WAL_WRITE_BYTE, 1)
    except BaseException:
        if held >= 0:
            os.close(held)
        raise
    return held


def _has_log(descriptor: int) -> bool:
    """Whether it is written by way of a log (`-wal`): bytes 18 and 19 of its header are 2."""
    return os.pread(descriptor, 2, 18) == b"\x02\x02"


def lock(descriptor: int, begin: int = PENDING_BYTE, size: int = LOCK_RANGE_BYTES, how: int = fcntl.F_WRLCK) -> None:
    """Lock these bytes of the database, by default all that lock, for as long as this descriptor is open.

    The lock belongs to the open file, not to our process: whoever else here opens and closes that file releases
    nothing.
    """
    order = struct.pack("hhqqi", how, os.SEEK_SET, begin, size, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, order)
    except OSError as error:
        raise CannotInject(f"the database is locked already ({error.strerror})") from None


def spoil(content: bytes, what: str) -> bytes:
    """The header overwritten with zeros, or the second half of the file's pages lost to zeros."""
    if what == "header lost":
        return bytes(min(HEADER_BYTES, len(content))) + content[HEADER_BYTES:]
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


def longest_period_s(calibration: Calibration) -> float:
    """So long a service may do nothing by itself."""
    return max((effect.period_s for effect in calibration.effects), default=0.0)


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
        for order, what in enumerate((WRITING, LOCKED) if calibration.is_service else ()):
            yield Candidate(
                fault=Break(path=path, what=what, once_ready=True, hold_s=HOLD_S + longest_period_s(calibration)),
                start=clean.start,
                rank=(2 * order, 3),
                cause=("db once ready", what, path),
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
