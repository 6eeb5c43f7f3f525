"""What a target changed outside the state directories: upper layers, and the plain entries beside them, against the
host.

A file may be in an upper layer and yet be equal to the host's, so contents are compared where times differ.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from blackstart.sandbox.listing import kind_of
from blackstart.sandbox.plan import DIRECTORY, FILE, OVERLAY, Plan, Step

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"
_OWN = frozenset(("/proc", "/sys", "/dev", "/tmp", "/run"))


def changes(image: str, plan: Plan) -> list[list[str]]:
    """Rows of path, kind of change (created, modified, deleted), kind of entry."""
    rows: list[list[str]] = []
    beside = _Beside(plan, rows)
    for place, path in (("root", ""), *((f"part/{index}", path) for index, path in enumerate(plan.parts))):
        _inside(f"{image}/{place}", lambda top, path=path: beside.look(top, path))  # type: ignore[misc]
    for step in plan.mounts:
        if step.kind == OVERLAY:
            _inside(f"{image}/upper/{step.index}", lambda top, step=step: _changes(top, step.source, step.path, rows))  # type: ignore[misc]
    ours = {_whited_out(plan, place) for place in plan.whiteouts}
    return [row for row in rows if not (row[0] in ours and row[1] == "deleted")]


def _inside(place: str, act: Callable[[int], None]) -> None:
    top = os.open(place, _DIRECTORY)
    try:
        act(top)
    finally:
        os.close(top)


def _whited_out(plan: Plan, place: str) -> str:
    index, _, name = place.partition("/")
    return next(f"{step.path}/{name}" for step in plan.layers() if step.index == int(index))


class _Beside:
    """Compares the plain entries that stand beside the overlays with what was put there."""

    def __init__(self, plan: Plan, rows: list[list[str]]) -> None:
        self._made = {step.path: step for step in plan.made}
        self._ours = plan.stubs() | _OWN
        self._rows = rows

    def look(self, here: int, path: str) -> None:
        """Compare one directory and those below it."""
        with os.scandir(here) as found:
            entries = sorted(found, key=lambda e: e.name)
        for entry in entries:
            inner = f"{path}/{entry.name}"
            info = entry.stat(follow_symlinks=False)
            step = self._made.get(inner)
            if step is None:
                if inner not in self._ours:
                    self._rows.append([inner, "created", kind_of(info.st_mode)])
            elif step.kind == DIRECTORY and stat.S_ISDIR(info.st_mode):
                inside = os.open(entry.name, _DIRECTORY, dir_fd=here)
                try:
                    self.look(inside, inner)
                finally:
                    os.close(inside)
            elif step.kind == FILE and self._is_changed(here, entry.name, info, step):
                self._rows.append([inner, "modified", kind_of(info.st_mode)])
        names = {f"{path}/{entry.name}" for entry in entries}
        for inner in sorted(p for p in self._made if os.path.dirname(p) == (path or "/") and p not in names):
            self._rows.append([inner, "deleted", "other"])

    def _is_changed(self, here: int, name: str, info: os.stat_result, step: Step) -> bool:
        if not stat.S_ISREG(info.st_mode):
            return True
        return not same_bytes(here, name, step.source)


def same_bytes(here: int, name: str, other: str) -> bool:
    """Whether a file in an open directory holds what another holds; False where one cannot be read."""
    try:
        mine = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        with os.fdopen(mine, "rb") as new, open(other, "rb") as old:
            while True:
                block = new.read(1 << 20)
                if block != old.read(1 << 20):
                    return False
                if not block:
                    return True
    except OSError:
        return False


def _changes(here: int, lower: str, path: str, rows: list[list[str]]) -> None:
    with os.scandir(here) as found:
        entries = sorted(found, key=lambda e: e.name)
    for entry in entries:
        info = entry.stat(follow_symlinks=False)
        inner, below_it = f"{path}/{entry.name}", f"{lower}/{entry.name}"
        kind = kind_of(info.st_mode)
        try:
            old = os.lstat(below_it)
        except OSError:
            old = None
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            rows.append([inner, "deleted", kind_of(old.st_mode) if old else "other"])
            continue
        if old is None:
            rows.append([inner, "created", kind])
        elif kind != "directory" or _replaced(here, entry.name):
            if _differs(here, entry.name, info, below_it, old):
                rows.append([inner, "modified", kind])
        elif stat.S_IMODE(info.st_mode) != stat.S_IMODE(old.st_mode):
            rows.append([inner, "modified", kind])
        if kind == "directory":
            inside = os.open(entry.name, _DIRECTORY, dir_fd=here)
            try:
                _changes(inside, below_it, inner, rows)
            finally:
                os.close(inside)


def _replaced(here: int, name: str) -> bool:
    inside = os.open(name, _DIRECTORY, dir_fd=here)
    try:
        return os.getxattr(inside, _OPAQUE) == b"y"
    except OSError:
        return False
    finally:
        os.close(inside)


def _differs(here: int, name: str, info: os.stat_result, below_it: str, old: os.stat_result) -> bool:
    if info.st_mode != old.st_mode or not stat.S_ISREG(info.st_mode) or info.st_size != old.st_size:
        return True
    if info.st_mtime_ns == old.st_mtime_ns:
        return False
    return not same_bytes(here, name, below_it)
