"""Kind `errno`: one system call of the target fails as it really can.

Transient (`@k`) and persistent (`@k+`); a full or read-only file system refuses every growing call from then on. A
short write is followed by ENOSPC, as a real disk does it. Only errors that could happen in this world are chosen: none
that contradicts the disk, none on the program's own installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.masking import Masker
from blackstart.core.rule import parse
from blackstart.core.trace import FORKS, OPENING, Operation
from blackstart.faults.kill import crash_before
from blackstart.faults.point import TRIED_ROLES, Point, repeated, spread, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during, fired_in_gate
from blackstart.gate import Tamper, disk_full, read_only
from blackstart.gate.calls import COPIES
from blackstart.targets import Conducted

SHORT = "short"
# Once a disk is full or read-only, it is so for everybody on it.
SPREADING = frozenset(("ENOSPC", "EROFS"))

_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range")
_READS = ("read", "pread64", "readv", "preadv")
# (error, persistent), the likeliest to show something first.
_ERRORS: dict[str, tuple[tuple[str, bool], ...]] = {
    **dict.fromkeys(_WRITES, (("ENOSPC", True), (SHORT, True), ("EIO", False), ("ENOSPC", False))),
    **dict.fromkeys(("fsync", "fdatasync", "syncfs"), (("EIO", False), ("ENOSPC", True))),
    **dict.fromkeys(("truncate", "ftruncate"), (("EIO", False), ("EROFS", True))),
    "fallocate": (("ENOSPC", True), ("EOPNOTSUPP", True)),
    **dict.fromkeys(("rename", "renameat", "renameat2"), (("EIO", False), ("ENOSPC", True), ("EACCES", True))),
    **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), (("ENOSPC", True), ("EPERM", True))),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), (("EIO", False), ("EROFS", True))),
    **dict.fromkeys(("mkdir", "mkdirat"), (("ENOSPC", True), ("EACCES", True))),
    **dict.fromkeys(_READS, (("EIO", False), ("EIO", True))),
    **dict.fromkeys(("flock",), (("ENOLCK", True),)),
    **dict.fromkeys(FORKS, (("EAGAIN", True),)),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "chown", "fchown"), (("EPERM", True),)),
}
_MAKING = frozenset("mkdir mkdirat mknod mknodat symlink symlinkat".split())
_REMOVING = frozenset("unlink unlinkat rmdir".split())
_MOVING = frozenset("rename renameat renameat2 link linkat".split())
_CREATING: tuple[tuple[str, bool], ...] = (("ENOSPC", True), ("EACCES", True), ("EMFILE", False), ("EROFS", True))
_READING: tuple[tuple[str, bool], ...] = (("EACCES", True), ("EMFILE", False), ("EIO", False))


class Errno(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="errno", tag_field="fault"):
    """The call at this point fails with `error` (an errno name, or `short`: half is written, then ENOSPC)."""

    kind: ClassVar[str] = "errno"
    point: Point
    error: str
    persistent: bool = False
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """Healed before the restart: the disk has space again."""
        return False

    def __str__(self) -> str:
        until = " until healed" if self.persistent else ""
        what = "is cut short, then ENOSPC" if self.error == SHORT else f"fails with {self.error}"
        return f"{self.point} {what}{until}{during(self.phase)}"

    def tampers(self, first: int) -> list[Tamper]:
        """The orders to the gate: the fault's own point, then, once that has fired, the same for the whole disk."""
        nth, plus = self.point.nth, "+" if self.persistent else ""
        if self.error == SHORT:
            size = self.point.operation.size if self.point.operation else 2
            rule = f"@{nth} return({max(1, size // 2)}) -> @{nth + 1}+ raise(OSError: ENOSPC)"
        else:
            rule = f"@{nth}{plus} raise(OSError: {self.error})"
        error = "ENOSPC" if self.error == SHORT else self.error
        orders = [self.point.tamper(rule)]
        if self.persistent and error in SPREADING:
            everywhere = disk_full() if error == "ENOSPC" else read_only()
            orders.append(Tamper(match=everywhere, rule=parse(f"raise(OSError: {error})"), after=first))
        return orders

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        orders = self.tampers(len(scene.tampers))
        with scene.armed(*orders):
            yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        return fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)


def errors_of(operation: Operation, is_there: bool | None = None) -> tuple[tuple[str, bool], ...]:
    """(error, persistent) pairs that this operation can give in this world, the likeliest to show something first.

    is_there: whether something stands at its path just before it (None: nobody knows). What stands there needs no
    room to be made; what does not cannot be refused.
    """
    call = operation.call
    if call in OPENING and operation.is_opening_for_change:
        return tuple(pair for pair in _CREATING if pair[0] != "ENOSPC" or not is_there)
    if call in OPENING:
        return () if is_there is False else _READING
    if call in _MAKING and is_there:
        return ()
    if call in _WRITES and (call in COPIES or operation.size < 2):
        return tuple(pair for pair in _ERRORS[call] if pair[0] != SHORT)
    return _ERRORS.get(call, ())


def standing(clean: CleanRun, masker: Masker) -> list[bool | None]:
    """For each operation of the run, whether something stood at its path just before it; None if nobody knows."""
    there: dict[str, bool] = {path: bool(v) and v[0] is not None for path, v in clean.versions.items()}
    reached = {operation.masked for operation in clean.trace if operation.fd >= 0}
    known: list[bool | None] = []
    for operation in clean.trace:
        path = operation.masked
        # What is nobody's state and was never reached by a descriptor was looked for in vain.
        known.append(there.get(path, None if path in reached else False))
        if operation.call in _MAKING or operation.is_opening_for_change:
            there[path] = True
        elif operation.call in _REMOVING:
            there[path] = False
        if operation.call in _MOVING:
            there[masker(operation.path2)] = True
            there[path] = operation.call.startswith("link")
    return known


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each error that each distinct point can give."""
    worth = [o for o in clean.trace if calibration.roles.get(o.masked, "") in TRIED_ROLES and o.kind != "directory"]
    there = dict(zip((o.index for o in clean.trace), standing(clean, Masker(calibration.mask)), strict=True))
    for point, places in spread(worth, clean):
        assert point.operation is not None
        for order, (error, persistent) in enumerate(errors_of(point.operation, there[point.operation.index])):
            yield Candidate(
                fault=Errno(point=point, error=error, persistent=persistent),
                start=clean.start,
                rank=(_rank(point, calibration) + order, 2),
                cause=("errno", error, point.path, point.call),
                path=point.path,
                places=places,
            )
    yield from _during_recovery(worth, clean, calibration)


def _during_recovery(worth: list[Operation], clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Killed in mid-work, then each point's likeliest error while it recovers."""
    for point, places in spread(repeated(clean, (o for o in worth if o.changes or o.call in OPENING))):
        crash = crash_before(point.path, clean)
        assert point.operation is not None
        errors = [pair for pair in errors_of(point.operation) if pair[0] != SHORT][:1]
        if crash is None or not errors:
            continue
        error, persistent = errors[0]
        yield Candidate(
            fault=Errno(point=unplanned(point), error=error, persistent=persistent, phase=RESTART),
            crash=crash,
            start=clean.start,
            rank=(_rank(point, calibration) + 6, 3),
            cause=("errno during recovery", error, point.path),
            path=point.path,
            places=places,
        )


def _rank(point: Point, calibration: Calibration) -> int:
    role = calibration.roles.get(point.path, "")
    assert point.operation is not None
    base = {"state": 0, "output": 1, "scratch": 1, "lock": 2, "cache": 3}.get(role, 4)
    return base if point.operation.changes or point.call in ("fsync", "fdatasync") else base + 1
