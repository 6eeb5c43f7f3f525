"""What the tree inside a sandbox is made of, worked out once per helper from the tree of the host.

Every top-level directory becomes an overlay. A directory with mounts below it cannot be one (the kernel shows no
directory without what is mounted on it), so it is made anew and its children become overlays, as deep as needed:
a plain bind would let the program reach sockets and pipes of the host, which overlays do not.
State directories are plain copies, `/tmp` and its like are fresh and belong to the image; whatever lies below
something else is mounted after it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass, replace
from typing import Any

HOST = "/old"
FRESH = ("/tmp", "/var/tmp", "/run", "/dev/shm")
_OWN = frozenset(("proc", "sys", "dev", "tmp", "run", "lost+found"))
SMALL_BYTES = 1 << 16
OVERLAYS_MAX = 240

# Steps: what stands at a path. `source` is a path in the helper's tree.
DIRECTORY, LINK, FILE, HIDDEN, NODE = "directory", "link", "file", "hidden", "node"
OVERLAY, COPY, NEW, OPENED, MASKED, BOUND = "overlay", "copy", "new", "opened", "masked", "bound"
PART = "part"
_MADE = frozenset((DIRECTORY, LINK, FILE, HIDDEN, NODE))


@dataclass(frozen=True)
class Step:
    """One entry of the new tree: `index` names the layer or copy that belongs to it."""

    kind: str
    path: str
    source: str = ""
    index: int = 0
    mode: int = 0o755
    user: int = 0
    group: int = 0


@dataclass(frozen=True)
class Plan:
    """made: plain entries of the root directory, created with an image; mounts: in the order of mounting;
    hidden: paths that are not shown, with the reason; machine_files: entries of /proc that are made read-only;
    whiteouts: places in upper layers where an overlay is told that there is nothing;
    parts: directories with mounts below them that lie in a fresh directory, and so not in the root."""

    made: tuple[Step, ...]
    mounts: tuple[Step, ...]
    hidden: tuple[tuple[str, str], ...]
    root_mode: int
    machine_files: tuple[str, ...] = ()
    whiteouts: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def layers(self) -> tuple[Step, ...]:
        """The steps that need an upper directory."""
        return tuple(s for s in self.mounts if s.kind == OVERLAY)

    def stubs(self) -> frozenset[str]:
        """Directories of an image that are ours: they carry mounts, or every system has them."""
        found = {"/run/lock", "/run/user", f"/run/user/{os.geteuid()}"}
        for step in self.mounts:
            path = step.path
            while path not in ("", "/"):
                found.add(path)
                path = os.path.dirname(path)
        return frozenset(found)


def packed(plan: Plan) -> dict[str, Any]:
    """The plan as a message."""
    return asdict(plan)


def unpacked(message: dict[str, Any]) -> Plan:
    """The plan of a message."""
    made, mounts = (tuple(Step(**step) for step in message[name]) for name in ("made", "mounts"))
    hidden = tuple((path, why) for path, why in message["hidden"])
    files, whiteouts, parts = (tuple(message[name]) for name in ("machine_files", "whiteouts", "parts"))
    return Plan(made, mounts, hidden, message["root_mode"], files, whiteouts, parts)


def mount_points(mountinfo: str) -> frozenset[str]:
    """The mount points of a mountinfo file, as paths."""
    found = set()
    with open(mountinfo, "rb") as lines:
        for line in lines:
            escaped = line.split()[4]
            found.add(os.fsdecode(escaped.decode("unicode_escape").encode("latin-1")))
    return frozenset(found)


def below(path: str, parents: Any) -> bool:
    """Whether the path is one of these directories or lies in one."""
    return any(path == p or path.startswith(p.rstrip("/") + "/") for p in parents)


class Planner:
    """Collects the steps; `full` says that all user ids exist inside (root), else only the own one does."""

    def __init__(self, layout: dict[str, Any], points: frozenset[str], full: bool) -> None:
        self._layout = layout
        self._points = points
        self._full = full
        self._made: list[Step] = []
        self._mounts: list[Step] = []
        self._hidden: list[tuple[str, str]] = []
        self._layers = 0
        self._parts: list[str] = []

    def plan(self) -> Plan:
        """The whole plan."""
        for name in sorted(os.listdir(HOST)):
            if name not in _OWN and not self._covered("/" + name):
                self._entry("/" + name)
        for path in self._layout["overlays"]:
            if not self._is_there(path) and not below(path, self._layout["copies"]) and self._visible(path):
                if self._covered(path) and self._has_mounts(path):
                    self._mounts.append(self._step(PART, path, index=len(self._parts)))
                    self._parts.append(path)
                self._directory(path)
        for index, path in enumerate(self._layout["copies"]):
            self._mounts.append(self._step(COPY, path, index=index))
        for index, path in enumerate(FRESH):
            self._mounts.append(Step(NEW, path, index=index))
        for path in self._layout["opened"]:
            self._mounts.append(Step(OPENED, path, source=HOST + path))
        whiteouts = [w for path in self._layout["omit"] if (w := self._omit(path))]
        self._mounts.sort(key=order)
        root_mode = 0o755 if self._full else 0o555
        made, mounts, hidden = tuple(self._made), tuple(self._mounts), tuple(self._hidden)
        return Plan(made, mounts, hidden, root_mode, whiteouts=tuple(whiteouts), parts=tuple(self._parts))

    def _omit(self, path: str) -> str:
        """Hide one path of the host: by a whiteout right below the root of an overlay, elsewhere by an empty mount."""
        if below(path, self._layout["copies"]) or not self._visible(path):
            return ""
        for step in self._mounts:
            if step.kind == OVERLAY and step.path == os.path.dirname(path):
                return f"{step.index}/{os.path.basename(path)}"
        self._mounts.append(Step(MASKED, path))
        return ""

    def _covered(self, path: str) -> bool:
        return below(path, FRESH)

    def _is_there(self, path: str) -> bool:
        return any(s.path == path for s in (*self._mounts, *self._made))

    def _has_mounts(self, path: str) -> bool:
        return any(p.startswith(HOST + path + "/") for p in self._points)

    def _visible(self, path: str) -> bool:
        return os.path.isdir(HOST + path) and not below(path, [p for p, _ in self._hidden])

    def _entry(self, path: str) -> None:
        try:
            info = os.lstat(HOST + path)
        except OSError:
            return
        if stat.S_ISLNK(info.st_mode):
            self._made.append(Step(LINK, path, source=os.readlink(HOST + path)))
        elif stat.S_ISDIR(info.st_mode):
            self._directory(path)
        elif stat.S_ISREG(info.st_mode):
            self._file(path, info)
        elif stat.S_ISFIFO(info.st_mode) or stat.S_ISSOCK(info.st_mode):
            self._made.append(Step(NODE, path, mode=info.st_mode, user=os.geteuid(), group=os.getegid()))

    def _file(self, path: str, info: os.stat_result) -> None:
        if os.access(HOST + path, os.R_OK):
            kind = FILE if info.st_size <= SMALL_BYTES else BOUND
            step = self._step(kind, path)
            (self._made if kind == FILE else self._mounts).append(step)

    def _directory(self, path: str) -> None:
        if not os.access(HOST + path, os.X_OK):
            self._hide(path, "this user may not enter it")
        elif self._has_mounts(path):
            if path not in self._parts:
                self._made.append(self._step(DIRECTORY, path))
            try:
                names = sorted(os.listdir(HOST + path))
            except OSError:
                names = []
            for name in names:
                if f"{path}/{name}" not in FRESH:
                    self._entry(f"{path}/{name}")
        elif self._layers >= OVERLAYS_MAX:
            self._hide(path, f"more than {OVERLAYS_MAX} overlays would be needed")
        else:
            self._overlay(path)

    def _hide(self, path: str, why: str) -> None:
        self._hidden.append((path, why))
        self._made.append(Step(HIDDEN, path, mode=0))

    def _overlay(self, path: str) -> None:
        self._mounts.append(self._step(OVERLAY, path, index=self._layers))
        self._layers += 1

    def _step(self, kind: str, path: str, index: int = 0) -> Step:
        """A step with the mode and owner that stand for those of the host.

        Without all user ids it belongs to the own user, so its mode is cut to what that user may do on the host.
        """
        user, group, mode = os.geteuid(), os.getegid(), 0o755
        try:
            info = os.lstat(HOST + path)
        except OSError:
            return Step(kind, path, HOST + path, index, mode, user, group)
        mode = stat.S_IMODE(info.st_mode)
        if self._full:
            return Step(kind, path, HOST + path, index, mode, info.st_uid, info.st_gid)
        if info.st_uid != user:
            may = [bit for bit, how in ((4, os.R_OK), (2, os.W_OK), (1, os.X_OK)) if os.access(HOST + path, how)]
            mode = sum(may) * 0o111 | (mode & 0o1000)
        return Step(kind, path, HOST + path, index, mode, user, group)


def without_failures(plan: Plan, failed: dict[str, str]) -> Plan:
    """The plan with overlays that the kernel refused replaced by empty mounts."""
    if not failed:
        return plan
    masked = [Step(MASKED, path) for path in sorted(failed)]
    kept = [s for s in plan.mounts if not (s.kind in (OVERLAY, MASKED) and below(s.path, failed))]
    mounts = tuple(sorted([*kept, *masked], key=order))
    return replace(plan, mounts=mounts, hidden=plan.hidden + tuple(failed.items()))


def order(step: Step) -> tuple[list[str], bool]:
    """Parents before children; at one place what hides it last."""
    return step.path.split("/"), step.kind == MASKED
