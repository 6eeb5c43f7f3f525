"""Answers the calls that wait in the gate: records them, tampers with some, lets the rest go on.

One thread. The caller's own poll waits for calls and timers together with all that the caller waits for: `join` adds
them to it, `attend` waits and serves. So each call costs a poll, a receive and a send, and what lies between is kept
flat.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from functools import partial

import msgspec

from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.randomness import Seed, Source
from blackstart.core.rule import Term
from blackstart.core.trace import FILE, SYNCING, Operation
from blackstart.gate import calls as tables
from blackstart.gate import notify
from blackstart.gate.actions import CALLER_GONE, Actions, Step
from blackstart.gate.callsite import Sites
from blackstart.gate.filter import AUDIT_ARCH, X32_BIT
from blackstart.gate.looking import Looking
from blackstart.gate.operations import Event, Reader
from blackstart.gate.places import Places, change_by
from blackstart.gate.tampering import Armed, Firing, Tamper
from blackstart.gate.tasks import Tasks, Thread
from blackstart.gate.wallclock import CLOCKED, WallClock

_MOVES = tables.RENAMES | tables.REMOVES | tables.MAKES
_EXECUTES = frozenset({"execve", "execveat"})
_SPECIAL = tables.BOOKKEEPING | _MOVES | {"connect", "bind", "mmap", "io_uring_setup"}
_UNCOVERED_MAX = 1000
_ZEROS = bytes(notify.NOTIFICATION.size)
_unpack = notify.NOTIFICATION.unpack
_answer_to = notify.IDENTITY.pack_into
_RECEIVE, _SEND = notify.RECEIVE, notify.SEND


class Recorder(msgspec.Struct, frozen=True):
    """What is kept of each operation. mask: run-specific path -> masked path; data: the bytes written, at most
    `data_max` of each and `data_total_max` of all; sites: where in the program the calls are made that change or sync
    something or go to a peer, all below `roots`; offsets: of plain writes too, which have no such argument; roots: keep
    only what happens below these paths, and to streams and sockets (none: all); limit: how many are kept.
    """

    mask: Callable[[str], str] | None = None
    data: bool = False
    sites: bool = False
    offsets: bool = False
    roots: tuple[str, ...] = ()
    data_max: int = 1 << 20
    data_total_max: int = 256 << 20
    limit: int = 2_000_000


class Supervisor:
    """The gate's outside. Owns the listener and closes it.

    tampers: what to do at which calls; record: what to keep (None: nothing); mask: as in Recorder; kill: ends the whole
    tree (called instead of an answer); on_operation: called for each operation while its caller still waits, so that
    the reader sees the state exactly before it; gated: the calls that the filter stops, as given to filter.compile: if
    they include calls.BOOKKEEPING, descriptors are looked up once instead of each time; streams: link text -> name of
    the standard streams (see places.stream_names; None: descriptors 0, 1, 2 of the first thread); stacks: read the
    exact stack of each first firing by a debugger (10-150 ms, for findings); wall: the clock that it reads.

    trace, firings, hits (per tamper), connects (when, to what), uncovered (path -> why), is_ended: to be read any time.
    """

    def __init__(
        self,
        listener: int,
        *,
        tampers: Sequence[Tamper] = (),
        record: Recorder | None = None,
        mask: Callable[[str], str] | None = None,
        kill: Callable[[], None] | None = None,
        on_operation: Callable[[Operation], None] | None = None,
        gated: frozenset[str] | set[str] | None = None,
        streams: Mapping[str, str] | None = None,
        stacks: bool = False,
        wall: WallClock | None = None,
        random: Source | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.trace: list[Operation] = []
        self.uncovered: dict[str, str] = {}
        self.is_ended = False
        self._listener, self._on_operation = listener, on_operation
        self._record, self._wall = record, wall
        self._clock = clock
        self._started_s = self._now_s = clock.monotonic()
        self._index, self._data_left = 0, record.data_total_max if record else 0
        self._random = random or Seed(0).source("gate")
        self.arm(tampers)
        self._tasks = Tasks()
        self._threads = self._tasks.threads
        self._places = Places(streams=streams, keep=gated is not None and gated >= tables.BOOKKEEPING)
        mask = mask or (record.mask if record else None) or str
        data_max = record.data_max if record and record.data else 0
        self._reader = Reader(self._places, mask, data_max=data_max, positions=bool(record and record.offsets))
        self.connects = self._reader.connects
        self._sites = Sites(self._reader.masked)
        self._architecture = AUDIT_ARCH[tables.machine()]
        self._calls = tables.all_numbers(tables.machine())
        self._reads_all = record is not None or on_operation is not None
        # Filled anew for each call: `ioctl` is faster with what it may write to.
        self._buffer = bytearray(notify.NOTIFICATION.size)
        self._go_on = bytearray(notify.RESPONSE.pack(0, 0, 0, notify.CONTINUE))
        self._waiting, self._listens = select.poll(), False
        self._actions = Actions(listener, kill, clock, with_stacks=stacks)
        notify.set_sync_wake_up(listener)

    @property
    def hits(self) -> list[int]:
        """Per tamper, how many operations matched."""
        return [armed.counter.hits for armed in self._armed]

    @property
    def firings(self) -> list[Firing]:
        """What was done, in order."""
        return self._actions.firings

    def arm(self, tampers: Sequence[Tamper]) -> None:
        """Tamper with these calls from now on, counting from here; the filter must stop them."""
        self._armed = [Armed(index, tamper, self._random) for index, tamper in enumerate(tampers)]
        self._by_call = {
            name: [armed for armed in self._armed if name in armed.calls]
            for name in frozenset().union(*(armed.calls for armed in self._armed))
        }

    def heal(self) -> None:
        """Tamper with nothing from now on; who was held goes on."""
        self._by_call = {}
        self._actions.release()

    def masked(self, path: str) -> str:
        """The masked path, as in the trace."""
        return self._reader.masked(path)

    def join(self, waiting: select.poll) -> None:
        """Let this poll wait for calls and timers too; `attend` then uses it, and nobody else may."""
        self._waiting, self._listens = waiting, False
        waiting.register(self._actions.timer.descriptor, select.POLLIN)

    def attend(self, timeout_s: float) -> list[tuple[int, int]]:
        """Serve until something else in the joined poll is ready, something was done to a call, or the time is over.

        The other descriptors that are ready, with their events. After a call to which something was done no other one
        is answered before the return, so that the caller can look at what is there at that moment.
        """
        self._listen()
        self._now_s = self._clock.monotonic()
        deadline_s = self._now_s + timeout_s
        poll, take, one_call = self._waiting.poll, self._take, [(self._listener, select.POLLIN)]
        events = poll(max(0.0, timeout_s) * 1000)
        while events == one_call:
            if take():
                return []
            left_s = deadline_s - self._now_s
            events = poll(left_s * 1000) if left_s > 0 else []
        return self._serve_events(events)

    def serve_until(self, descriptors: Sequence[int], timeout_s: float) -> list[int]:
        """Serve until one of these descriptors is ready or the time is over; those that are ready.

        With no descriptor: until no process of the tree is left.
        """
        waiting = select.poll()
        for descriptor in descriptors:
            waiting.register(descriptor, select.POLLIN)
        self.join(waiting)
        left_s = timeout_s
        deadline_s = self._clock.monotonic() + timeout_s
        while True:
            ready = self.attend(left_s)
            left_s = deadline_s - self._clock.monotonic()
            if ready or left_s <= 0 or (self.is_ended and not descriptors):
                return [descriptor for descriptor, _ in ready]

    def _listen(self) -> None:
        """Nothing is taken while the last call before a kill is being finished, or after the end."""
        if self._listens is not self._is_listening:
            self._listens = not self._listens
            if self._listens:
                self._waiting.register(self._listener, select.POLLIN)
            else:
                self._waiting.unregister(self._listener)

    @property
    def _is_listening(self) -> bool:
        return self._actions.held is None and not self.is_ended

    def _serve_events(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Do what these events of our own descriptors ask for; the others."""
        ready = []
        for descriptor, what in events:
            if descriptor == self._actions.timer.descriptor:
                self._actions.run_timers()
            elif descriptor != self._listener:
                ready.append((descriptor, what))
            elif not what & select.POLLIN:
                self.is_ended = True  # no process is left that could call
            elif self._is_listening:
                self._take()
        return ready

    def release(self) -> None:
        """Let every call that was hung or delayed go on: a debugger hangs on a thread that waits in the gate."""
        self._actions.release()

    def close(self) -> None:
        """Close the listener: calls that still wait then fail with ENOSYS, so end the tree first."""
        if self._listener >= 0:
            self._actions.close()
            self._tasks.close()
            os.close(self._listener)
            self._listener = -1
            self.is_ended = True

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> bool:
        """Receive one notification, which must be waiting, and answer it or put it aside. The hot path: kept flat.

        Whether anything else was done than to let the call go.
        """
        buffer = self._buffer
        buffer[:] = _ZEROS
        try:
            ioctl(self._listener, _RECEIVE, buffer)
        except OSError as error:
            # ENOENT: the caller died, or was interrupted, between poll and now.
            if error.errno in (errno.ENOENT, errno.EINTR):
                return False
            raise
        event = _unpack(buffer)
        self._now_s = now_s = self._clock.monotonic()
        tid, number, architecture = event[1], event[3], event[4]
        call = self._calls.get(number) if architecture == self._architecture else None
        if call is None:
            self._foreign(event[0], tid, number, architecture)
            return False
        if self._places.pending:
            self._places.seen(tid, now_s)
        if self._actions.again and self._is_repeated(event):
            return True
        thread = self._threads.get(tid) or self._tasks.thread(tid)
        if self._wall is not None and self._of_clock(self._wall, call.name, thread, event):
            return False
        armed = self._by_call.get(call.name)
        if armed is None and not self._reads_all:
            if call.name in _SPECIAL:
                self._prepare(call, thread, event, None)
            self._let_go(event, call.name, None)
            return False
        operation = self._reader.operation(call, thread, event, self._index, now_s - self._started_s)
        self._index += 1
        if self._record is not None:
            operation = self._keep(operation, thread)
        if self._on_operation is not None:
            self._on_operation(operation)
        if armed is not None:
            step = self._decide(armed, call, thread, event, operation)
            if step is not None:
                self._actions.perform(event[0], thread, step)
                return True
        if call.name in _SPECIAL:
            self._prepare(call, thread, event, operation)
        self._let_go(event, call.name, operation)
        return False

    def _decide(
        self, candidates: list[Armed], call: tables.Call, thread: Thread, event: Event, operation: Operation
    ) -> Step | None:
        """Count this operation where it is a hit; what is to be done, by the first tamper that has something to do."""
        look = Looking(self._sites, thread, operation)
        chosen: tuple[Armed, Term] | None = None
        for armed in candidates:
            first = armed.tamper.after
            if first is not None and not self._armed[first].fired:
                continue
            if armed.is_hit(operation, look):
                term = armed.hit()
                if term is not None and chosen is None:
                    chosen = armed, term
        if chosen is None:
            return None
        armed, term = chosen
        matched = armed.matches_plan(operation, self._reader.masked, look)
        if call.name in _SPECIAL:
            self._prepare(call, thread, event, operation)
        act = armed.tamper.act and partial(armed.tamper.act, look)
        return Step(event, operation, call, term, armed.index, matched, act=act)

    def _of_clock(self, wall: WallClock, name: str, thread: Thread, event: Event) -> bool:
        """Whether this is a reading of the wall clock, which then is answered; every program is made to ask here."""
        if name not in CLOCKED:
            wall.follow(thread.process, is_replaced=name in _EXECUTES)
            return False
        answer = wall.answer(name, thread.process, event)
        if answer is None:
            self._let_go(event, name, None)
        else:
            self._actions.answer(event[0], *answer, 0)
        return True

    def _is_repeated(self, event: Event) -> bool:
        """Whether this is a call that a signal had interrupted in the gate and that was begun again (Linux < 5.19)."""
        step = self._actions.again.pop(event[1], None)
        if step is None or step.event[3:] != event[3:]:
            return False
        if step.term is None:
            self._let_go(event, step.operation.call, step.operation)
        else:
            self._actions.perform(event[0], self._tasks.thread(event[1]), step)
        return True

    def _keep(self, operation: Operation, thread: Thread) -> Operation:
        record = self._record
        assert record is not None
        path = operation.path
        if record.roots and path.startswith("/") and not path.startswith(record.roots):
            return operation
        wants_site = operation.changes or operation.call in SYNCING or path in self._reader.connected
        if record.sites and (wants_site or (record.roots and path[:1] == "/")):
            operation = msgspec.structs.replace(operation, site=self._sites.label(thread, operation.call, path))
        if len(self.trace) >= record.limit:
            self._not_covered("trace", f"only the first {record.limit} operations were kept")
            return operation
        self.trace.append(operation)
        if operation.data:
            self._data_left -= len(operation.data)
            if self._data_left <= 0:
                self._reader.data_max = 0
                self._not_covered("data", f"only the first {record.data_total_max} bytes written were kept")
        return operation

    def _not_covered(self, what: str, why: str) -> None:
        if len(self.uncovered) < _UNCOVERED_MAX:
            self.uncovered.setdefault(what, why)

    def _prepare(self, call: tables.Call, thread: Thread, event: Event, operation: Operation | None) -> None:
        """Before a call that changes what descriptors and paths mean, or whose effects the gate cannot see."""
        name = call.name
        if name == "io_uring_setup":
            self._not_covered("io_uring", "io_uring_setup was refused with ENOSYS: a ring's calls cannot be seen")
        elif name == "mmap":
            operation = operation or self._reader.operation(call, thread, event, -1, 0.0)
            if operation.kind == FILE:
                self._not_covered(operation.path, "mapped shared and writable: its writes are not seen")
        elif name in ("connect", "bind"):  # later calls on this socket go by its name
            _ = operation or self._reader.operation(call, thread, event, -1, self._now_s - self._started_s)
        else:
            if name in tables.BOOKKEEPING:
                change = change_by(call, thread.process, event, operation)
                self._places.changes(thread.tid, self._now_s, change)
            if operation is not None and name in _MOVES:
                self._places.moves(operation.path)
                self._places.moves(operation.path2)
            if name in _EXECUTES:
                self._sites.forget(thread.process)
                self._tasks.forget(thread.process)

    def _foreign(self, notification: int, tid: int, number: int, architecture: int) -> None:
        """A call of another instruction set: it goes on, and the report says that it was not covered."""
        try:
            program = os.readlink(f"/proc/{tid}/exe")
        except OSError:
            program = "a program"
        is_x32 = architecture == self._architecture and number & X32_BIT
        self._not_covered(program, f"makes {'x32' if is_x32 else '32-bit'} system calls, which the gate cannot read")
        self._actions.answer(notification, 0, 0, notify.CONTINUE)

    def _let_go(self, event: Event, name: str, operation: Operation | None) -> None:
        """Answer: go on. Where a signal took the caller away, it will come again and is not counted twice.

        Before Linux 5.19 a signal may still come between a taken answer and the caller's waking: that one is counted
        twice, which the answer does not show.
        """
        if name == "io_uring_setup":
            self._actions.answer(event[0], 0, -errno.ENOSYS, 0)
            return
        try:
            _answer_to(self._go_on, 0, event[0])
            ioctl(self._listener, _SEND, self._go_on)
        except OSError as trouble:
            if trouble.errno not in CALLER_GONE:
                raise
            if operation is not None:
                self._actions.again[event[1]] = Step(event, operation)
