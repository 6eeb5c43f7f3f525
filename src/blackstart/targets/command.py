"""A command as a target: one start in a sandbox, from exec to its end.

One loop serves three things at once: the gate's notifications (the target waits for each answer), the output pipes
(a full pipe would stop the target), and the sandbox's message that the main process ended. Past its deadline the
target is looked at, not merely killed: what it waits in decides between hung, spinning and slow.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.errors import SandboxLimit
from blackstart.core.history import DEADLINE, EXITED, KILLED, SIGNALED, End, Life, Output, Peer, Wait
from blackstart.core.reading import Reading
from blackstart.core.trace import Operation
from blackstart.gate import BOOKKEEPING, Firing, Recorder, Supervisor, Tamper, WallClock, closure, stream_names
from blackstart.gate.filter import compile as compile_filter
from blackstart.gate.wallclock import GATED as CLOCK_CALLS
from blackstart.sandbox import Sandbox
from blackstart.targets.look import look
from blackstart.targets.pipes import Pipes
from blackstart.targets.signalling import Signals
from blackstart.targets.watch import Diagnosis, Patience

LINGER_S = 0.5
ORPHANS_LOOK_S = 0.05
_LOOK_EVERY_S = 0.25


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What is started: arguments (surrogateescape for any bytes), directory, whole environment, file for stdin."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}
    stdin: str = ""


class GateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate is to do in one start: the calls that it stops at, the faults, whether to record, the mask, the
    wall clock that the target reads (None: the machine's), whether to read the exact stack where a fault acts.
    """

    calls: frozenset[str]
    tampers: tuple[Tamper, ...] = ()
    recorder: Recorder | None = None
    mask: Callable[[str], str]
    wall: WallClock | None = None
    stacks: bool = False

    @property
    def stopped(self) -> frozenset[str]:
        """All calls that stop; those of bookkeeping too, so that each descriptor is looked up once."""
        return closure(self.calls | BOOKKEEPING | (CLOCK_CALLS if self.wall else frozenset()))

    @property
    def whole(self) -> frozenset[str]:
        """Calls that stop whatever they are asked to do: how much memory there is, every mapping changes."""
        return frozenset({"mmap"} if any(tamper.match.short == "memory" for tamper in self.tampers) else ())


class Conducted(msgspec.Struct, frozen=True, kw_only=True):
    """What one start gave: its end, its outputs, what was left alive, and the gate's account of it."""

    end: End
    outputs: tuple[Output, ...]
    left: tuple[str, ...] = ()
    trace: tuple[Operation, ...] = ()
    hits: tuple[int, ...] = ()
    firings: tuple[Firing, ...] = ()
    uncovered: dict[str, str] = {}
    outputs_at_firing: int = 0
    signals: tuple[int, ...] = ()
    life: Life | None = None
    readings: tuple[Reading, ...] = ()
    wall: WallClock | None = None
    packets: dict[str, int] = {}
    group: dict[str, int] = {}
    peers: tuple[Peer, ...] = ()


class OnOperation(Protocol):
    """Called for each operation while its caller still waits in the gate."""

    def __call__(self, operation: Operation) -> None: ...


@lru_cache(maxsize=64)
def _compiled(calls: frozenset[str], whole: frozenset[str]) -> bytes:
    """The same few sets of calls are used in every trial."""
    return compile_filter(calls, whole=whole)


def always() -> float:
    """The time that is left where nothing ends it."""
    return math.inf


class Start:
    """The state of one running start; `run` is the loop; left_s: how much time is left for it, raises if none is."""

    def __init__(self, sandbox: Sandbox, patience: Patience, clock: Clock, left_s: Callable[[], float]) -> None:
        self.sandbox = sandbox
        self.patience = patience
        self.clock = clock
        self._left_s = left_s
        self.began_s = clock.monotonic()
        self.pipes = Pipes(self.elapsed_s)
        self.supervisor: Supervisor | None = None
        self.wall: WallClock | None = None
        self.killed = False
        self.is_over = False
        self.lines_at_firing = -1
        self.signals = Signals(self.elapsed_s)
        # What the loop waits for: pipes, the sandbox's events, and, where there is a gate, its calls and timers.
        self.poll = select.poll()

    def elapsed_s(self) -> float:
        return self.clock.monotonic() - self.began_s

    def begin(
        self,
        command: Command,
        gate: GateOrder | None,
        on_operation: OnOperation | None,
        drop_capabilities: Sequence[str],
    ) -> None:
        """Start the command; from then on the gate's calls wait for `run`."""
        streams = stream_names(None, *self.pipes.write_ends)
        stdin = os.open(command.stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            started = self.sandbox.start(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=stdin,
                stdout=self.pipes.write_ends[0],
                stderr=self.pipes.write_ends[1],
                filter=_compiled(gate.stopped, gate.whole) if gate else None,
                drop_capabilities=drop_capabilities,
            )
        finally:
            os.close(stdin)
        self.signals.open(started.pid)
        # Its time begins now: what the sandbox took to be built is not the target's.
        self.began_s = self.clock.monotonic()
        self.pipes.started()
        for descriptor in (self.sandbox.fileno(), *self.pipes.descriptors()):
            self.poll.register(descriptor, select.POLLIN)
        if gate and started.listener is not None:
            self.wall = gate.wall
            self.supervisor = Supervisor(
                started.listener,
                tampers=gate.tampers,
                record=gate.recorder,
                mask=gate.mask,
                kill=self.kill,
                on_operation=on_operation,
                gated=gate.stopped,
                streams=streams,
                wall=gate.wall,
                stacks=gate.stacks,
            )
            self.supervisor.join(self.poll)

    def kill(self) -> None:
        """The gate's kill verb: end the whole tree, keep the namespaces."""
        self.killed = True
        self.end()

    def end(self) -> None:
        """Nothing of the target is alive afterwards; once is enough."""
        if not self.is_over:
            self.sandbox.kill()
            self.is_over = True

    def close(self) -> None:
        """End what is left and give everything back; the tree first, else calls in the gate fail before it dies."""
        try:
            self.end()
        finally:
            self.signals.close()
            if self.supervisor:
                self.supervisor.close()
            self.pipes.close()

    def run(self) -> tuple[int | None, Wait | None]:
        """(wait status of the main process, None) or (None, why it was given up)."""
        events = self.sandbox.fileno()
        diagnosis = Diagnosis(self.patience.hard_s, self.patience.repeat_s)
        next_look_s = self.patience.deadline_s
        while True:
            now_s = self.elapsed_s()
            if now_s >= next_look_s:
                wait = self._look(diagnosis, now_s)
                if wait:
                    return None, wait
                next_look_s = now_s + _LOOK_EVERY_S
            self.signals.send_due()
            ready = self.attend(max(0.0, min(next_look_s - now_s, self.signals.wait_s)) + 0.001)
            if self.killed:
                return None, None
            for descriptor, event in ready:
                if descriptor != events:
                    self.take(descriptor)
                    continue
                ended = self.sandbox.event()
                if ended is not None:
                    return ended.status, None
                if event & (select.POLLHUP | select.POLLERR):
                    self.sandbox.close()
                    raise SandboxLimit("process 1 of the sandbox was ended from outside; memory may be short")

    def linger(self) -> None:
        """Let children that end a moment after the main process say and do their last: who holds its pipes open counts.

        A daemon that keeps them open is not waited for any longer.
        """
        self.poll.unregister(self.sandbox.fileno())
        end_s = self.elapsed_s() + LINGER_S
        while self.pipes.descriptors() and not self.killed and (left_s := end_s - self.elapsed_s()) > 0:
            for descriptor, _ in self.attend(left_s):
                self.take(descriptor)
        end_s = self.elapsed_s() + self.patience.orphans_s
        while not self.killed and self.elapsed_s() < end_s and self.sandbox.census():
            for descriptor, _ in self.attend(ORPHANS_LOOK_S):
                self.take(descriptor)

    def attend(self, timeout_s: float) -> list[tuple[int, int]]:
        """Serve the gate until something else is ready, a fault has acted or the time is over; what is ready."""
        timeout_s = min(timeout_s, self._left_s())
        supervisor = self.supervisor
        if supervisor is None:
            return self.poll.poll(timeout_s * 1000)
        ready = supervisor.attend(timeout_s)
        if self.lines_at_firing < 0 and supervisor.firings:
            self.pipes.drain()
            self.lines_at_firing = self.pipes.lines()
        if self.signals.planned:
            self.signals.after(firing.tamper_index for firing in supervisor.firings)
        return ready

    def take(self, descriptor: int) -> None:
        """Read a pipe; one that is over is looked at no more."""
        if not self.pipes.read(descriptor):
            self.poll.unregister(descriptor)

    def _look(self, diagnosis: Diagnosis, now_s: float) -> Wait | None:
        wait = self.fed(diagnosis, now_s)
        if wait is None and now_s >= self.patience.hard_s:
            wait = diagnosis.last()
        return wait

    def fed(self, diagnosis: Diagnosis, now_s: float) -> Wait | None:
        """Look at the tree once more; what the diagnosis says now."""
        seen = look([process.outer_pid for process in self.sandbox.census()], now_s)
        turns = sum(self.supervisor.hits) if self.supervisor else 0
        return diagnosis.feed(seen, self.pipes.seen_bytes + seen.written_bytes, turns)


def ended(status: int, elapsed_s: float) -> End:
    """An end by itself, from a wait status."""
    if os.WIFSIGNALED(status):
        return End(how=SIGNALED, signal=os.WTERMSIG(status), elapsed_s=elapsed_s)
    return End(how=EXITED, code=os.WEXITSTATUS(status), elapsed_s=elapsed_s)


def conduct(
    sandbox: Sandbox,
    command: Command,
    *,
    gate: GateOrder | None = None,
    patience: Patience | None = None,
    on_operation: OnOperation | None = None,
    drop_capabilities: Sequence[str] = (),
    signals: Mapping[int, tuple[int, ...]] = {},
    clock: Clock = SYSTEM,
    left_s: Callable[[], float] = always,
) -> Conducted:
    """Start the command in the sandbox and stay with it until it ends, is killed by a fault or is given up.

    Afterwards nothing of it is alive. Raises TargetError when it cannot be executed, SandboxLimit when the sandbox
    cannot hold it, and whatever left_s raises when no time is left for it.
    """
    start = Start(sandbox, patience or Patience(), clock, left_s)
    start.signals.plan(signals)
    try:
        start.begin(command, gate, on_operation, drop_capabilities)
        status, wait = start.run()
        return account(start, status, wait)
    finally:
        start.close()


def account(start: Start, status: int | None, wait: Wait | None) -> Conducted:
    """End what is left, then put the account together."""
    elapsed_s = start.elapsed_s()
    if status is not None:
        start.linger()
    left = () if start.killed else tuple(process.command for process in start.sandbox.census())
    start.end()
    start.pipes.drain()
    supervisor = start.supervisor
    if start.killed:
        end = End(how=KILLED, signal=9, elapsed_s=elapsed_s)
    elif status is None:
        end = End(how=DEADLINE, elapsed_s=elapsed_s, wait=wait)
    else:
        end = ended(status, elapsed_s)
    return Conducted(
        end=end,
        outputs=tuple(start.pipes.outputs),
        left=left,
        trace=tuple(supervisor.trace) if supervisor else (),
        hits=tuple(supervisor.hits) if supervisor else (),
        firings=tuple(supervisor.firings) if supervisor else (),
        uncovered=dict(supervisor.uncovered) if supervisor else {},
        outputs_at_firing=max(start.lines_at_firing, 0),
        signals=tuple(start.signals.sent),
        wall=start.wall,
    )
