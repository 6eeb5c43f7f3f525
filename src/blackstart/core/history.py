"""All that happened in a trial, in order, as data. Oracles judge histories and nothing else, so they work again
on a stored one.
"""

from __future__ import annotations

import msgspec

from blackstart.core.reading import Image, Reading
from blackstart.core.trace import Operation

EXITED, SIGNALED, KILLED, DEADLINE, STOPPED = "exited", "signaled", "killed", "deadline", "stopped"


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that got out: stream is stdout or stderr; at_s since the start of this run."""

    stream: str
    data: bytes
    at_s: float = 0.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a target that did not end was doing when it was last looked at.

    state: one of the words of core/waiting.py;
    call: the system call it waits in; path: its object; limit_s: the wait's own limit; seen_s: how long it was so;
    rounds: how often the same wait was seen; cpu: share of one CPU.
    """

    state: str
    call: str = ""
    path: str = ""
    limit_s: float = 0.0
    seen_s: float = 0.0
    rounds: int = 0
    cpu: float = 0.0


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one start of the target ended: how is exited, signaled, killed (by a kill fault), deadline, or stopped (a
    service that was ready, and ended when it was told to; code and signal say how).
    """

    how: str
    code: int = 0
    signal: int = 0
    elapsed_s: float = 0.0
    wait: Wait | None = None


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a workload: how is ok (acknowledged), fail (refused) or info (outcome unknown); id: of what it did;
    at_s: when we read it, seconds since this start; latency_ms: as the line said, -1 if it did not.
    """

    how: str
    id: str
    at_s: float = 0.0
    latency_ms: float = -1.0


class Census(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The target's whole process tree at one moment: how many of each, memory in bytes; commands: a line each."""

    processes: int = 0
    threads: int = 0
    descriptors: int = 0
    memory_bytes: int = 0
    commands: tuple[str, ...] = ()


class WorkloadEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one run of a workload ended; as it is by default, there was none, or it was cut off with the target.

    code: its exit status, or minus the signal that ended it; limit_s: after so long it had not ended; said: its last
    words on standard error.
    """

    code: int | None = None
    limit_s: float = 0.0
    said: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is anything to tell of it."""
        return self.is_whole or self.limit_s > 0

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end, be that a bad one."""
        return self.code is not None

    @property
    def is_well(self) -> bool:
        """Whether it ended as one that did all its work does."""
        return self.code == 0

    def __str__(self) -> str:
        if not self.is_known:
            return ""
        end = f"exit status {self.code}" if self.is_whole else f"it had not ended after {self.limit_s:.0f} s"
        return " | ".join(filter(None, (end, self.said)))


class Life(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One start of a service from ready to stopped; moments in seconds since its start, -1: it did not come to that."""

    # It was ready.
    ready_s: float = -1.0
    # What the workload said, and how it ended.
    acts: tuple[Act, ...] = ()
    workload: WorkloadEnd = WorkloadEnd()
    # A fault acted first; all that can be healed while it runs was healed; it was ready after that; told to stop.
    fired_s: float = -1.0
    healed_s: float = -1.0
    again_s: float = -1.0
    stop_s: float = -1.0
    # What it did when it had not stopped in time.
    held_up: Wait | None = None
    # Whether it used the processor or wrote anything between healing and the end of the time to settle.
    tried: bool = False
    # What the workload said the last time that it ran after that, if it did, and how it ended; what it said before.
    again: tuple[Act, ...] = ()
    again_workload: WorkloadEnd = WorkloadEnd()
    meanwhile: tuple[Act, ...] = ()
    # How often the service connected to anything once what broke was back (at healing; at the fault, if that hit one
    # connection and no more), and how often it had connected to the same before the fault.
    connects: int = 0
    connected: int = 0
    # How long before that last workload it connected last, or was healed; the longest wait with a limit of its own in
    # which it was seen after it; when it began.
    idle_s: float = 0.0
    pause_s: float = 0.0
    asked_s: float = -1.0
    # Whether, as it was recorded, the service listened then and let out nothing: no byte, no end of a connection.
    is_silent: bool = False
    # Whether it did something most of the time after it.
    is_at_work: bool = False
    # Just before it was told to stop.
    census: Census = Census()
    # What it did by itself after it was ready again, where that was watched for: name -> moments; and the longest time
    # that something then waited which began to wait after the fault and would have ended only after the watching.
    effects: dict[str, tuple[float, ...]] = {}
    back_off_s: float = 0.0
    # Where the same was done several times in this start: what was counted after each, and whether the fault had acted;
    # once more a while after the last.
    rounds: tuple[tuple[Census, bool], ...] = ()
    # What the workload said when it was run once more before the end, to measure that.
    after: tuple[Act, ...] = ()
    # Whether it still worked for clients that were gone, or let go of what it held for them, when it was counted.
    is_busy: bool = False

    @property
    def asked(self) -> tuple[Act, ...]:
        """All that was asked of it in this start, in order."""
        return (*self.acts, *self.meanwhile, *self.again, *self.after)


class Cut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the power went, and what was not on the disk then.

    model: under which the state was made; models, never: under which it can and cannot occur; is_real: whether one of
    the former is a file system as it is commonly used; after, before: the operations between which the cut fell;
    missing: what is lost, a sentence each; lost_kinds: of which sorts (data, size, cut, entry, torn, garbage);
    only_last_name: all bytes that were promised had been synced, only names are missing, at most one acknowledgement
    came after them; unsynced: the masked paths of files whose bytes alone speak against that; steps: how many
    micro-operations are missing; paths: masked, of the operations they belong to;
    moved: what is missing was written under another name than its file has now; appended: all by appending to a file;
    again: a sync that had failed was called once more on that file; unordered: names are missing, and of the rest only
    what cannot be there without them, while something that was done after them is there.
    """

    model: str
    models: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    is_real: bool = False
    after: Operation | None = None
    before: Operation | None = None
    missing: tuple[str, ...] = ()
    lost_kinds: tuple[str, ...] = ()
    only_last_name: bool = False
    unsynced: tuple[str, ...] = ()
    steps: int = 0
    paths: tuple[str, ...] = ()
    moved: bool = False
    appended: bool = False
    again: bool = False
    unordered: bool = False


class Injected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault as it was done.

    fault: its text; hits: how often its place was reached; fired: how often it acted;
    matched: whether the operation it fired on was the planned one (None: nothing was planned in particular);
    operation: the operation it fired on first; outputs: how many output events had got out by then;
    note: why it did not fire, or what proves that it reached the target (e.g. "damaged file was read");
    cut: for a power cut, what is missing; stack: where the program was, exactly (`file:function:line`, innermost
    first), if that was asked for.
    """

    fault: str
    kind: str
    hits: int = 0
    fired: int = 0
    matched: bool | None = None
    operation: Operation | None = None
    outputs: int = 0
    note: str = ""
    cut: Cut | None = None
    stack: tuple[str, ...] = ()


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done in one start to one peer: address: as the gate calls it; hits: how often the fault acted on what
    passed; refused: whether nobody listened for a while; healed: whether it was well again before the target's end;
    after: how many connections came to it after that.
    """

    address: str
    hits: int = 0
    refused: bool = False
    healed: bool = False
    after: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One start of the target inside a trial.

    phase: `run` (the first start, in which most faults fall), `restart`, `restart-again`, ...; image: the state after
    it, before anybody else started; readings: answers of `--check` and other probes asked on a *copy* of that state;
    left: command lines of processes alive after the main one ended; life: of a service; peers: those that were broken.
    """

    phase: str
    end: End
    outputs: tuple[Output, ...] = ()
    image: Image = {}
    readings: tuple[Reading, ...] = ()
    left: tuple[str, ...] = ()
    trace: tuple[Operation, ...] = ()
    life: Life | None = None
    peers: tuple[Peer, ...] = ()

    def text(self, stream: str) -> bytes:
        """All bytes of one stream, joined."""
        return b"".join(o.data for o in self.outputs if o.stream == stream)


class Reset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt to make a failing restart work: which paths were removed or put back, and whether it then did."""

    removed: tuple[str, ...] = ()
    put_back: tuple[str, ...] = ()
    helped: bool = False


class Round(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several equal rounds: a start with the fault, or, within one start of a service, fault, work and healing.

    fired: whether the fault acted in it; paths: what stood in the state directories after it; left: command lines of
    processes that outlived a job's end; census: of a service, healed and at rest.
    """

    fired: bool = False
    paths: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    census: Census = Census()


class Rounds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same again and again, from the trial's start state: with its faults, and as often without.

    faulty, null: the rounds; end: what stood after a clean start that followed the faulty ones, and after one with a
    clock that is ahead; census: of a service, a while after the last faulty round.
    """

    faulty: tuple[Round, ...] = ()
    null: tuple[Round, ...] = ()
    end: tuple[str, ...] = ()
    census: Census | None = None


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """An `except` or `finally` block of a Python program, and whether a trial entered it."""

    path: str
    line: int
    what: str
    ran: bool = False


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trial from sandbox to last reading.

    start: the name of the start state (S0, S1, ...); kind: the fault's kind, `null` for none;
    resets: attempts after a restart that failed twice, smallest first;
    late: the last restart after a wait of late_s seconds, made where something only had to be removed; ahead_s: by how
    much its clock was ahead; clock: why a clock that is ahead could not be shown to it;
    good_again: for damage to files: the restart with the good file put back; rounds: of the same faults again and
    again, where that was tried; handlers: of a trial under a tracer, what it met of them; trouble: why the sandbox
    could not do what the target asked (the trial is then unknown).
    """

    start: str
    kind: str
    injected: tuple[Injected, ...] = ()
    runs: tuple[Run, ...] = ()
    resets: tuple[Reset, ...] = ()
    late: Run | None = None
    late_s: float = 0.0
    ahead_s: float = 0.0
    clock: str = ""
    good_again: Run | None = None
    rounds: Rounds | None = None
    handlers: tuple[Handler, ...] = ()
    trouble: str = ""

    def run(self, phase: str) -> Run | None:
        """The run of that phase, if it took place."""
        return next((r for r in self.runs if r.phase == phase), None)
