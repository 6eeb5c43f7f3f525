"""The recording of one run: every change to files and entries as micro-operations, with the outputs between them.

The tape is fed with each operation while its caller still waits, so it sees the file as it was before. What the call
itself does not tell (the bytes that sendfile, copy_file_range and splice moved, what was stored through a mapping) is
found by comparing the file with what the tape holds of it, at the caller's next call, at a sync, and at the end.
That comparison at the end is also the proof: a recording that, replayed, does not give the real files says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from blackstart.core.answering import Answering
from blackstart.core.trace import FILE as REGULAR
from blackstart.core.trace import Operation
from blackstart.power import micro as kinds
from blackstart.power.changes import Changes
from blackstart.power.image import Contents, Names
from blackstart.power.micro import Micro
from blackstart.power.models import Model, Order
from blackstart.power.spill import Spill
from blackstart.power.tree import DIRECTORY, Node, StartEntry, Tree

COMPARED_BYTES = 256 << 20
# What a step needs is a mask of all steps: as much memory as the square of their number, for each model.
STEPS_MAX = 25_000
_COPIES = frozenset("sendfile copy_file_range splice".split())

WORKLOAD = "workload"

# What stands at a path of the target now: size and a reader of (offset, size); None: no regular file.
ReadNow = Callable[[str], bytes | None]
LookNow = Callable[[str], os.stat_result | None]


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """A sync of the run that the gate lets fail. is_it: which one; model: what the file system then does;
    make_read: lets the file at a path of the target read as these bytes from now on.
    """

    is_it: Callable[[Operation], bool]
    model: Model
    make_read: Callable[[str, bytes], None]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that got out: before the operation with this index everything earlier had been done. stream `workload`:
    lines that whoever uses a service said.
    """

    operation: int
    stream: str
    data: bytes


@dataclass
class Recording:
    """start: the entries before the run; operations: those that changed, synced or said something, without their bytes;
    micros: in order; events: the outputs; uncovered: path -> why a power cut's effect on it is not known; models: the
    file systems asked for; dropped: what a sync that reported an error should have written; it is not among the micros;
    layered: the roots of which only what changed is ours, and stands in a layer over the machine's own; end: up to how
    many micro-operations the power is cut, where not up to all of them (-1).
    """

    start: list[StartEntry]
    spill: Spill
    tree: Tree
    operations: list[Operation] = field(default_factory=list)
    micros: list[Micro] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    uncovered: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    dropped: list[Micro] = field(default_factory=list)
    layered: frozenset[str] = frozenset()
    end: int = -1
    _orders: dict[str, Order] = field(default_factory=dict)

    @property
    def last_cut(self) -> int:
        """After how many micro-operations the power is cut at the latest."""
        return self.end if self.end >= 0 else len(self.micros)

    def shorten(self, steps_max: int) -> None:
        """Keep no more micro-operations than these, all of an operation or none; the last cut falls before the last."""
        micros = self.micros
        if len(micros) <= steps_max:
            return
        count = steps_max
        while micros[count - 1].operation == micros[count].operation:
            count -= 1
        del micros[count:]
        self.end = next(m.index for m in micros if m.operation == micros[-1].operation)
        why = f"more than {steps_max:,} changes: the power is cut within the first of them only"
        for root in self.tree.roots:
            self.uncovered.setdefault(root, why)

    @cached_property
    def contents(self) -> Contents:
        """Its contents; to be asked for when the recording is complete."""
        return Contents(self)

    @cached_property
    def names(self) -> Names:
        """Its names; to be asked for when the recording is complete."""
        return Names(self, self.contents.touched)

    @cached_property
    def steps_of(self) -> dict[int, list[int]]:
        """The micro-operations of each operation."""
        found: dict[int, list[int]] = {}
        for step in self.micros:
            found.setdefault(step.operation, []).append(step.index)
        return found

    @cached_property
    def addresses(self) -> dict[tuple[str, str, int], int]:
        """Call, masked path and number of each operation -> its index."""
        return {(o.call, o.masked, o.nth): index for index, o in enumerate(self.operations)}

    @cached_property
    def is_failing(self) -> bool:
        """Whether a sync of the run reported an error."""
        return any(m.kind == kinds.SYNC and m.fails for m in self.micros)

    def order(self, model: Model) -> Order:
        """What a model says of it; worked out once."""
        if model.name not in self._orders:
            self._orders[model.name] = Order(model, self.micros)
        return self._orders[model.name]

    def outputs_before(self, cut: int) -> tuple[Event, ...]:
        """What had got out when the first `cut` micro-operations were done."""
        done = sum(1 for m in self.micros[:cut] if m.kind == kinds.OUTPUT)
        return tuple(self.events[:done])


class Tape:
    """Records. read_now, look_now: what stands at a path of the target at this moment; failing: the sync that fails;
    hears: what counts as an output is told by `heard`, and not what the target itself says.
    """

    def __init__(
        self,
        start: list[StartEntry],
        spill: Spill,
        *,
        read_now: ReadNow,
        look_now: LookNow = lambda path: None,
        pieces_max: int = 16,
        block_bytes: int = 4096,
        failing: Failing | None = None,
        hears: bool = False,
    ) -> None:
        tree = Tree(start, block_bytes)
        self._start_count = len(tree.nodes)
        self.recording = Recording(start, spill, tree)
        self._read_now = read_now
        self._look_now = look_now
        self._failing = failing
        self._hears = hears
        self._heard = 0
        self._answering = Answering()
        self._changes = Changes(self.recording, pieces_max, block_bytes)
        self._contents = Contents(self.recording)
        self._later: dict[int, str] = {}
        self._mapped: dict[int, dict[str, str]] = {}  # process -> path -> its masked path
        self._descriptors: dict[tuple[int, int], str] = {}

    def before(self, operation: Operation) -> None:
        """Called while the caller waits just before `operation`."""
        path = self._later.pop(operation.thread, None)
        if path is not None:
            self._compare(path)
        if operation.fd >= 0 and operation.kind == REGULAR:
            self._descriptors[operation.process, operation.fd] = operation.path
        if self._answering.lets_out(operation):
            if not self._hears:
                self._output(operation)
        elif operation.call == "msync":
            self._msync(operation)
        elif operation.call == "mmap":
            if operation.kind == REGULAR and self.recording.tree.covers(operation.path):
                self._mapped.setdefault(operation.process, {})[operation.path] = operation.masked
        else:
            self._change(operation)

    def heard(self, data: bytes) -> None:
        """Whoever uses the service said this, the target's next operation not having begun."""
        self._heard += 1
        self._output(Operation(index=-1, call=WORKLOAD, path=WORKLOAD, masked="line", nth=self._heard, data=data))

    def _change(self, operation: Operation) -> None:
        operation = self._with_real_path(operation)
        if operation.call in _COPIES or (operation.call == "fallocate" and operation.flags & ~0x13):
            if self.recording.tree.covers(operation.path):
                self._later[operation.thread] = operation.path
                self._changes.begin(operation)
            return
        if operation.call in ("fsync", "fdatasync", "sync", "syncfs"):
            self._compare_mapped(operation.path if operation.call.startswith("f") else "")
        if self._failing is not None and self._failing.is_it(operation):
            self._fail(self._failing, operation)
        else:
            self._changes.apply(operation)

    def _fail(self, failing: Failing, operation: Operation) -> None:
        content = self._changes.fail_sync(operation, failing.model)
        if content is not None:
            failing.make_read(operation.path, content)

    def _with_real_path(self, operation: Operation) -> Operation:
        """A path such as /proc/self/fd/3 as the file that is open there."""
        head, _, number = operation.path.rpartition("/")
        if head.startswith("/proc/") and head.endswith("/fd") and number.isdecimal():
            path = self._descriptors.get((operation.process, int(number)), operation.path)
            return msgspec.structs.replace(operation, path=path)
        return operation

    def _output(self, operation: Operation) -> None:
        recording = self.recording
        self._changes.begin(operation)
        recording.events.append(
            Event(operation=len(recording.operations) - 1, stream=operation.path, data=operation.data)
        )
        self._changes.add(kinds.OUTPUT)

    def _msync(self, operation: Operation) -> None:
        mapped = list(self._mapped.get(operation.process, {}).items())
        self._compare_mapped("")
        synchronous = operation.flags & 4
        node = self.recording.tree.node(mapped[0][0]) if mapped else None
        if not synchronous or node is None:
            return
        if len(mapped) > 1:
            for path, _ in mapped:
                self.recording.uncovered.setdefault(path, "several files are mapped: which one was msynced is not seen")
            return
        path, masked = mapped[0]
        self._changes.begin(msgspec.structs.replace(operation, path=path, masked=masked))
        self._changes.add(kinds.SYNC, inode=node.number, name=kinds.FILE_DATA)

    def _compare_mapped(self, path: str) -> None:
        for paths in self._mapped.values():
            for mapped in paths:
                if path in ("", mapped):
                    self._compare(mapped)

    def _compare(self, path: str) -> bool:
        """Bring the tape's idea of a file in line with what stands there; whether it was so before."""
        node = self.recording.tree.node(path)
        if node is not None and node.number in self._changes.dropped:
            return True  # it reads as if nothing had been dropped
        real = self._read_now(path)
        if node is None or node.kind != REGULAR or real is None:
            return node is None and real is None
        if max(len(real), node.size) > COMPARED_BYTES:
            self.recording.uncovered[path] = f"larger than {COMPARED_BYTES >> 20} MB and not compared"
            return True
        self._contents.extend()
        known = self._contents.content(node.number, (1 << len(self.recording.micros)) - 1)
        if real == known:
            return True
        masked = next((paths[path] for paths in self._mapped.values() if path in paths), path)
        stored = Operation(index=-1, call="mapping", path=path, masked=masked, kind=REGULAR)
        self._changes.make_equal(node, known, real, stored)
        return False

    def finish(self) -> Recording:
        """The run has ended: what mappings hold now, the proof, and the modes and owners of new files."""
        recording, tree = self.recording, self.recording.tree
        for path in self._later.values():
            self._compare(path)
        self._later.clear()
        self._compare_mapped("")
        mapped = {path for paths in self._mapped.values() for path in paths}
        for path, node in _files(tree):
            touched = node.number >= self._start_count or node.number in self._changes.touched
            if not touched:
                continue
            if node.kind == REGULAR and not self._compare(path) and path not in mapped:
                recording.uncovered.setdefault(path, "replaying what was recorded does not give what stands there")
            info = self._look_now(path)
            if info is not None:
                node.mode, node.owner = stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid)
        for path in mapped:
            recording.uncovered.setdefault(
                path, "mapped shared and writable: what was stored between two syncs is seen only as a whole"
            )
        recording.shorten(STEPS_MAX)
        return recording


def _files(tree: Tree) -> list[tuple[str, Node]]:
    """All regular files and directories reachable now, with their paths."""
    found: list[tuple[str, Node]] = []
    waiting = list(tree.roots.items())
    while waiting:
        path, number = waiting.pop()
        node = tree.nodes[number]
        if node.kind in (REGULAR, DIRECTORY):
            found.append((path, node))
        waiting.extend((f"{path}/{name}", inode) for name, inode in node.entries.items())
    return found
