"""The workbench of trials: what all trials of one worker share.

It starts the target, or the check, on an image and turns what came out into a `Run`. It knows no order of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import msgspec

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, Run
from blackstart.core.masking import CWD, HOME, Masker
from blackstart.core.reading import Image, Reading
from blackstart.core.trace import SOCKET, Operation
from blackstart.gate import Firing, Recorder, Tamper, WallClock
from blackstart.gate.calls import expand
from blackstart.probes import Prober
from blackstart.sandbox import Joint, Sandbox, Zygote
from blackstart.sandbox.groups import Noted
from blackstart.targets import Command, Conducted, Duty, Patience, Service, conduct, serve
from blackstart.targets.command import GateOrder, OnOperation, always
from blackstart.trials.company import Company
from blackstart.trials.outside import Outside

# How long a check may take, whatever the target does.
CHECK_PATIENCE = Patience(deadline_s=30.0, hard_s=60.0)
# With what a target turns to a peer, and what is said of one that cannot be broken.
_TURNING = frozenset("connect sendto sendmsg sendmmsg".split())


@dataclass
class Bench:
    """What is started, and all that is known of it; one for each process that does trials."""

    # The owner of the images.
    zygote: Zygote
    # The target, what asks for its state (None: nobody does), and how it is used (None: it is a job).
    command: Command
    check: Command | None
    # Real path -> masked path.
    masker: Masker
    prober: Prober
    service: Service | None = None
    # What it needs: started first in each sandbox, or reached outside.
    companions: tuple[Command | Outside, ...] = ()
    # The yardstick; empty while it is being made.
    calibration: Calibration = field(default_factory=Calibration)
    # How far process ids are advanced before a restart.
    pid_step: int = 300
    # By start state, what serves many crash states in turn; and the failures that were seen in a sandbox of their own.
    lanes: dict[str, object] = field(default_factory=dict)
    confirmed: set[tuple[str, ...]] = field(default_factory=set)
    # Sockets that were seen to lead to companions: masked path -> network; how many questions the resolver was asked.
    peers: dict[str, str] = field(default_factory=dict)
    questions: int = 0
    # Told of each image as a start left it (phase, name), before anybody else starts on it.
    keep: Callable[[str, str], None] | None = None
    # How much time is left for what is started here; raises if none is.
    left_s: Callable[[], float] = always
    # Told of each control group before it is made.
    noted: Noted = nullcontext
    _serial: count[int] = field(default_factory=count)

    @contextmanager
    def image_from(self, source: str, keep: str = "") -> Iterator[str]:
        """A fresh copy of an image, gone at the end unless it is to be kept under another name."""
        name = f"trial-{next(self._serial)}"
        self.zygote.copy(source, name)
        try:
            yield name
        except BaseException:
            self.zygote.drop(name)
            raise
        if keep:
            self.zygote.rename(name, keep)
        else:
            self.zygote.drop(name)

    def company(
        self, sandbox: Sandbox, joint: Callable[[Sandbox], Joint] | None = None, *, proxied: bool = False
    ) -> Company | None:
        """The target's company in this sandbox, begun when first asked for; None if it needs none."""
        if not self.companions:
            return None
        there = (resident for resident in sandbox.residents if isinstance(resident, Company))
        known = self.calibration.peers
        return next(there, None) or Company(sandbox, self.companions, joint, proxied=proxied, known=known)

    def start(
        self,
        sandbox: Sandbox,
        image: str,
        phase: str,
        *,
        calls: frozenset[str] = frozenset(),
        tampers: Sequence[Tamper] = (),
        recorder: Recorder | None = None,
        patience: Patience | None = None,
        on_operation: OnOperation | None = None,
        drop_capabilities: Sequence[str] = (),
        signals: Mapping[int, tuple[int, ...]] = {},
        duty: Duty | None = None,
        wall: WallClock | None = None,
        stacks: bool = False,
    ) -> tuple[Run, Conducted]:
        """One start of the target on this sandbox; the Run holds the image afterwards; duty: of a service."""
        company = self.company(sandbox)
        before = sandbox.joint.counts() if sandbox.joint else {}
        gate = self._order(calls, tampers, recorder, wall, stacks=stacks) if calls or tampers or wall else None
        start = conduct if self.service is None else partial(serve, service=self.service, duty=duty or Duty())
        conducted = self._usual(
            start(
                sandbox,
                self.command,
                gate=gate,
                patience=patience,
                on_operation=None if on_operation is None else self._translated(on_operation),
                drop_capabilities=drop_capabilities,
                signals=signals,
                left_s=self.left_s,
            )
        )
        if company is not None:
            conducted = self._with_company(conducted, company, before)
        asks = self.check and self.service is None
        readings = (self.ask_check(image, phase),) if asks else conducted.readings
        run = Run(
            phase=phase,
            end=conducted.end,
            outputs=conducted.outputs,
            image=self.left(phase, image),
            readings=readings,
            left=conducted.left,
            life=conducted.life,
            peers=conducted.peers,
        )
        return run, conducted

    def _with_company(self, conducted: Conducted, company: Company, before: Mapping[str, int]) -> Conducted:
        """The account with what passed between the two; what a recorded run reached and asked is noted."""
        # Who sends datagrams need not connect.
        turned_to = dict.fromkeys(o.masked for o in conducted.trace if o.call in _TURNING and o.kind == SOCKET)
        if turned_to:
            company.look_again()
        whole = {path: why for path in turned_to if (why := company.why_whole(path))}
        places = {path: company.leads_to(path) for path in turned_to}
        self.peers |= {path: place.network for path, place in places.items() if place is not None}
        self.questions = max(self.questions, company.resolver.asked if conducted.trace else 0)
        now = company.sandbox.joint.counts() if company.sandbox.joint else {}
        packets = {fate: count - before.get(fate, 0) for fate, count in now.items()}
        uncovered = {**conducted.uncovered, **whole}
        return msgspec.structs.replace(conducted, peers=company.told(), packets=packets, uncovered=uncovered)

    def real(self, masked: str, image: str) -> str:
        """The path in this image that this masked path stands for; a path without `*` needs no look."""
        roots = {CWD: self.command.cwd, HOME: self.command.env.get("HOME", "")}
        first, slash, rest = masked.partition("/")
        plain = roots.get(first, first).rstrip("/") + slash + rest
        if "*" in masked:
            found = (entry.path for entry in self.zygote.walk(image) if self.masker(entry.path) == masked)
            return next(found, plain)
        return plain

    def _mask(self, path: str) -> str:
        """The masked path of one that the target was seen to use."""
        return self.masker(self.zygote.places.usual(path))

    def _order(
        self,
        calls: frozenset[str],
        tampers: Sequence[Tamper],
        recorder: Recorder | None,
        wall: WallClock | None,
        *,
        stacks: bool,
    ) -> GateOrder:
        wanted = calls.union(*(expand(tamper.match.call) for tamper in tampers))
        return GateOrder(
            calls=wanted, tampers=tuple(tampers), recorder=recorder, mask=self._mask, wall=wall, stacks=stacks
        )

    def _masked_stack(self, firing: Firing) -> Firing:
        frames = (frame.rsplit(":", 2) for frame in firing.stack)
        stack = tuple(f"{self._mask(file)}:{function}:{line}" for file, function, line in frames)
        return msgspec.structs.replace(firing, stack=stack)

    def _translated(self, on_operation: OnOperation) -> OnOperation:
        """Where the target runs in another place than usual, whoever looks at it still sees the usual paths."""
        if not self.zygote.places.writable:
            return on_operation
        return lambda operation: on_operation(self._usual_operation(operation))

    def _usual_operation(self, operation: Operation) -> Operation:
        usual = self.zygote.places.usual
        return msgspec.structs.replace(operation, path=usual(operation.path), path2=usual(operation.path2))

    def _usual(self, conducted: Conducted) -> Conducted:
        places = self.zygote.places
        if any(firing.stack for firing in conducted.firings):
            firings = tuple(self._masked_stack(firing) for firing in conducted.firings)
            conducted = msgspec.structs.replace(conducted, firings=firings)
        if not places.writable:
            return conducted
        outputs = tuple(msgspec.structs.replace(o, data=places.usual_output(o.data)) for o in conducted.outputs)
        trace = tuple(self._usual_operation(operation) for operation in conducted.trace)
        uncovered = {places.usual(path): why for path, why in conducted.uncovered.items()}
        return msgspec.structs.replace(conducted, outputs=outputs, trace=trace, uncovered=uncovered)

    def touched(self) -> tuple[list[str], list[str]]:
        """(changed, renamed): paths of the clean runs, at which the sandbox may differ from the system."""
        operations = [o for clean in self.calibration.chain for o in clean.trace if o.path.startswith("/")]
        changed = {o.path for o in operations if o.changes}
        return sorted(changed), sorted({o.path for o in operations if o.call.startswith("rename")})

    def left(self, phase: str, image: str) -> Image:
        """What a start (or what was damaged before it) left, kept for who asked for it, and read."""
        if self.keep is not None:
            self.keep(phase, image)
        return self.read(image)

    def read(self, image: str) -> Image:
        """The state files of an image with their logical content, by path."""
        return self.prober.image(image)

    def ask_check(self, image: str, when: str) -> Reading:
        """The answer of `--check`, asked on a copy of the image: its exit status and what it printed."""
        assert self.check is not None
        with self.image_from(image) as copy, self.zygote.sandbox(copy) as sandbox:
            answer = conduct(sandbox, self.check, patience=CHECK_PATIENCE, left_s=self.left_s)
        return self.reading(answer, when)

    @staticmethod
    def reading(answer: Conducted, when: str) -> Reading:
        """What a check said, as a reading; of one that fails, its message too, at the end."""
        streams = ("stdout", "stderr") if answer.end.code else ("stdout",)
        texts = [b"".join(o.data for o in answer.outputs if o.stream == stream) for stream in streams]
        text = b"\n".join(one for one in texts if one)
        error = "" if answer.end.how == EXITED else f"the check {answer.end.how}"
        value = f"{answer.end.code}\n{text.decode('utf-8', 'surrogateescape')}"
        return Reading(name="check", when=when, value=value, error=error)
