"""A control group of the target's own: memory and processor time of its whole tree, where this machine allows one.

Both versions of the interface are known; a group is made below the one that this process is in (version 1), or beside
it (version 2 gives controllers to none that has both processes and groups). Nothing of it outlives us: a keeper, which
no signal of a terminal reaches, waits for our end, however that comes, and removes what is still there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import SandboxLimit

MEMORY, CPU = "memory", "cpu"
PREFIX = "blackstart-"
PERIOD_US = 100_000
# To reclaim what can be had back takes less, as a rule; who is held up under pressure sleeps far longer.
STALL_US = 100_000
REMOVE_LIMIT_S = 5.0
# Removes what it is given once its input ends: at once where that is gone already.
_KEEP = (
    "trap '' INT TERM HUP QUIT; read _; n=0; "
    'while [ -d "$1" ] && ! rmdir "$1" 2>/dev/null && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.1; done'
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where groups of a controller can be made; refusal: why they cannot ("" if they can)."""

    parent: str = ""
    home: str = ""
    version: int = 0
    refusal: str = ""


def place(controller: str, mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup") -> Place:
    """Looked up anew each time: cheap, and others may change it."""
    try:
        with open(mounts) as file:
            mounted = [line.split()[1:4] for line in file]
        with open(own) as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError as error:
        return Place(refusal=str(error))
    for top, kind, options in mounted:
        if kind == "cgroup" and controller in options.split(","):
            below = next((path for _, names, path in rows if controller in names.split(",")), "/")
            home = _visible(top, below)
            return _writable(Place(parent=home, home=home, version=1))
    for top, kind, _ in mounted:
        if kind == "cgroup2":
            home = _visible(top, next((path for number, _, path in rows if number == "0"), "/"))
            parent = home if home == top else os.path.dirname(home)
            with contextlib.suppress(OSError), open(f"{parent}/cgroup.subtree_control") as file:
                if controller in file.read().split():
                    return _writable(Place(parent=parent, home=home, version=2))
    return Place(refusal=f"no group with the {controller} controller can be made")


def _visible(top: str, path: str) -> str:
    """Our group, or the top where a container shows no more than a part."""
    whole = top + path.rstrip("/")
    return whole if os.path.isdir(whole) else top


def _writable(found: Place) -> Place:
    if os.access(found.parent, os.W_OK) and os.access(f"{found.home}/cgroup.procs", os.W_OK):
        return found
    return Place(refusal="this user may not make groups")


# Told of a group's path before it is made, and when it is gone.
Noted = Callable[[str], contextlib.AbstractContextManager[object]]


class Group:
    """Made empty by `made`; processes are taken in by id, and their children come along."""

    def __init__(self, path: str, at: Place, controller: str) -> None:
        self.path = path
        self.controller = controller
        self._at = at
        self._last: dict[str, int] = {}
        self._waits, self._waited = -1, 0

    def take(self, process: int) -> None:
        """From now on this process belongs here."""
        self._write("cgroup.procs", str(process))

    def limit_memory(self, more: int, *, waits: bool = False) -> None:
        """From now on at most so many bytes more than it has; who needs more is killed, or waits until `lift`."""
        first = self._at.version == 1
        has = int(self._read("memory.usage_in_bytes" if first else "memory.current"))
        if waits and first:
            self._count_waits()
            self._write("memory.oom_control", "1")
        slow = "memory.high" if waits else "memory.max"
        self._write("memory.limit_in_bytes" if first else slow, str(has + more))

    def limit_cpu(self, percent: int) -> None:
        """At most this share of one processor."""
        quota = PERIOD_US * percent // 100
        if self._at.version == 1:
            self._write("cpu.cfs_period_us", str(PERIOD_US))
            self._write("cpu.cfs_quota_us", str(quota))
        else:
            self._write("cpu.max", f"{quota} {PERIOD_US}")

    def lift(self) -> None:
        """Limit nothing any more; who waited goes on."""
        for name, value in _UNLIMITED[self._at.version, self.controller]:
            self._write(name, value)

    def _count_waits(self) -> None:
        """Let the kernel tell each time that nothing can be reclaimed any more and somebody has to wait (version 1)."""
        if self._waits >= 0:
            return
        waits = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watched = os.open(f"{self.path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._write("cgroup.event_control", f"{waits} {watched}")
        except BaseException:
            os.close(waits)
            raise
        finally:
            os.close(watched)
        self._waits = waits

    def counts(self) -> dict[str, int]:
        """What the kernel counted; the last known where the group is gone.

        killed; met: allocations that met the limit, be it that something could be reclaimed for them; waited: how often
        nothing could (in version 2: for how many tenths of a second it was waited for memory); throttled: periods.
        """
        with contextlib.suppress(OSError):
            self._last = self._count()
        return dict(self._last)

    def _count(self) -> dict[str, int]:
        if self.controller == CPU:
            return {"throttled": self._pairs("cpu.stat").get("nr_throttled", 0)}
        if self._at.version == 1:
            killed = self._pairs("memory.oom_control").get("oom_kill", 0)
            if self._waits >= 0:
                with contextlib.suppress(BlockingIOError):
                    self._waited += os.eventfd_read(self._waits)
            return {"killed": killed, "met": int(self._read("memory.failcnt")), "waited": self._waited}
        events = self._pairs("memory.events")
        met = events.get("max", 0) + events.get("high", 0)
        return {"killed": events.get("oom_kill", 0), "met": met, "waited": self._stalled_us() // STALL_US}

    def _stalled_us(self) -> int:
        """For how long processes of the group waited for memory; 0 where the kernel does not account for that."""
        try:
            some = self._read("memory.pressure").splitlines()[0]
        except OSError:
            return 0
        return int(some.rpartition("total=")[2])

    def remove(self) -> None:
        """Lift the limit, let who is left go back to where we are, and remove it. Again is nothing."""
        if not os.path.isdir(self.path):
            self._hear_no_more()
            return
        self.counts()
        self._hear_no_more()
        self.lift()
        end_s = SYSTEM.monotonic() + REMOVE_LIMIT_S
        while True:
            for process in self._read("cgroup.procs").split():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    _write(f"{self._at.home}/cgroup.procs", process)
            try:
                os.rmdir(self.path)
                return
            except OSError as error:
                if SYSTEM.monotonic() > end_s:
                    raise SandboxLimit(f"the group {self.path} cannot be removed: {error.strerror}") from None
            SYSTEM.sleep(0.01)

    def _hear_no_more(self) -> None:
        if self._waits >= 0:
            os.close(self._waits)
            self._waits = -1

    def _read(self, name: str) -> str:
        with open(f"{self.path}/{name}") as file:
            return file.read()

    def _write(self, name: str, value: str) -> None:
        _write(f"{self.path}/{name}", value)

    def _pairs(self, name: str) -> dict[str, int]:
        return {key: int(value) for key, value in map(str.split, self._read(name).splitlines())}


_UNLIMITED = {
    (1, MEMORY): (("memory.limit_in_bytes", "-1"), ("memory.oom_control", "0")),
    (1, CPU): (("cpu.cfs_quota_us", "-1"),),
    (2, MEMORY): (("memory.max", "max"), ("memory.high", "max")),
    (2, CPU): (("cpu.max", f"max {PERIOD_US}"),),
}


def _write(path: str, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)


@contextlib.contextmanager
def made(controller: str, at: Place | None = None, noted: Noted = contextlib.nullcontext) -> Iterator[Group]:
    """A group, gone at the end, and at our own. Raises SandboxLimit where this machine allows none.

    noted: within what it gives, the group of that path may be there.
    """
    at = at or place(controller)
    if at.refusal:
        raise SandboxLimit(at.refusal)
    path = f"{at.parent}/{PREFIX}{os.urandom(8).hex()}"
    with noted(path):
        yield from _kept(path, at, controller)


def _kept(path: str, at: Place, controller: str) -> Iterator[Group]:
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEP, "sh", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        start_new_session=True,
    )
    group = Group(path, at, controller)
    try:
        try:
            os.mkdir(path)
        except OSError as error:
            raise SandboxLimit(f"no group can be made: {error}") from None
        yield group
    finally:
        try:
            group.remove()
        finally:
            keeper.communicate()
