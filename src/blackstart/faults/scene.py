"""What a fault may lay hands on, and what a fault is.

A trial offers a `Scene` before each start of the target; a fault's `inject` is a context manager on it, and leaving
that context is healing. A fault that falls into the gate arms a tamper; one that damages files changes the trial's
image. `account` says afterwards whether it reached the target: a fault that did not fire is never a pass.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from blackstart.core.history import Injected, Peer
from blackstart.core.trace import Operation
from blackstart.gate import Tamper, WallClock
from blackstart.power import Recording
from blackstart.proxy import Proxy
from blackstart.proxy.resolver import Resolver
from blackstart.sandbox import Group, Joint, Zygote
from blackstart.sandbox.groups import Noted
from blackstart.targets import Conducted

T = TypeVar("T")
RUN, RESTART = "run", "restart"


class CannotInject(Exception):
    """There is nothing to break at this moment (the file is not there); the text says what. The trial is unknown."""


class CompanyGone(Exception):
    """The sandbox is closed, and its proxies with it: nothing is left that could be healed."""


class Broken(Protocol):
    """What breaks one peer in one start, and knows what came of it; asked in the loop of the proxies."""

    def told(self, path: str) -> Peer: ...


class Peers(Protocol):
    """The proxies between the target and what it connects to: of one address those of streams and of datagrams, where
    there are both. `call` may raise CompanyGone.
    """

    def proxies(self, path: str) -> tuple[Proxy, ...]: ...
    def call(self, work: Coroutine[Any, Any, T]) -> T: ...
    def breaks(self, path: str, broken: Broken) -> None: ...
    @property
    def resolver(self) -> Resolver: ...


@dataclass
class Scene:
    """One trial's image and the settings of the next start: what a fault may change, and must put back."""

    zygote: Zygote
    # The trial's own image, and the one that it was made from: the good state.
    image: str
    start: str
    # The real path of a masked one.
    real: Callable[[str], str]
    # Of every draw in this trial.
    seed: int = 0

    # These take effect at the next start. signals: to be sent, by the index of the tamper that they go with.
    tampers: list[Tamper] = field(default_factory=list)
    drop_capabilities: list[str] = field(default_factory=list)
    signals: dict[int, tuple[int, ...]] = field(default_factory=dict)
    # The clock that the target reads; None: the machine's. How much longer the machine seems to have been up.
    wall: WallClock | None = None
    uptime_s: int = 0

    # Of a service: what is sent on its way out; what breaks something once it is ready, true when it did; for how long
    # that stays, at least.
    signals_at_stop: list[int] = field(default_factory=list)
    when_ready: list[Callable[[], bool]] = field(default_factory=list)
    hold_s: float = 0.0

    # Of the clean run from `start`, for power cuts.
    recording: Recording | None = None
    # A control group, whose counts are asked after each start.
    group: Group | None = None
    # Told of a control group before it is made.
    noted: Noted = nullcontext
    # The processes of the target that live now, by the ids that we see.
    processes: Callable[[], list[int]] = list
    # The proxies before the target's peers; None where there are no companions.
    peers: Callable[[], Peers | None] = lambda: None
    # What joins the companions' network with the target's; None where they share one.
    joint: Callable[[], Joint | None] = lambda: None
    # A socket of this family in the target's network.
    new_socket: Callable[[int], socket.socket] | None = None

    @contextmanager
    def armed(self, *orders: Tamper) -> Iterator[None]:
        """These orders are given to the gate of each start within."""
        mine = set(map(id, orders))
        try:
            self.tampers.extend(orders)
            yield
        finally:
            self.tampers[:] = [order for order in self.tampers if id(order) not in mine]

    def standing(self, masked: str) -> str:
        """The real path of a file that stands in the image; CannotInject if it does not."""
        path = self.real(masked)
        try:
            os.close(self.zygote.open_in(self.image, path, os.O_PATH))
        except OSError as error:
            raise CannotInject(f"{masked} is not there to be broken ({error.strerror})") from None
        return path


def during(phase: str) -> str:
    """How a fault's words end: nothing, or that it falls into the recovery."""
    return " during recovery" if phase == RESTART else ""


class Fault(Protocol):
    """A frozen value that says what breaks; JSON in and out as a tagged Struct.

    kind: its row in KINDS; phase: the start it falls into; lasting: whether it is healed only after the restart.
    """

    kind: ClassVar[str]

    @property
    def phase(self) -> str: ...
    @property
    def lasting(self) -> bool: ...
    def __str__(self) -> str: ...
    def inject(self, scene: Scene) -> AbstractContextManager[None]: ...
    def account(self, conducted: Conducted, first_tamper: int) -> Injected: ...


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A fault worth a trial: start is the image it starts from, rank orders the budget (small first),
    cause groups candidates that are likely to show the same thing, places counts the points it stands for;
    crash: for a fault that falls into recovery, what there is to recover from.
    """

    fault: Fault
    crash: Fault | None = None
    start: str
    rank: tuple[int, ...]
    cause: tuple[str, ...]
    path: str = ""
    places: int = 1


def fired_in_gate(
    kind: str, text: str, conducted: Conducted, first_tamper: int, planned: Operation | None = None
) -> Injected:
    """The account of a fault whose own tamper is `first_tamper`; planned: the operation of the clean run, if one was.

    The call site is that of the clean run: a trial does not read it again, and the gate has compared what it could.
    """
    firings = [firing for firing in conducted.firings if firing.tamper_index == first_tamper]
    delivered = [firing for firing in firings if firing.delivered]
    hits = conducted.hits[first_tamper] if first_tamper < len(conducted.hits) else 0
    operation = delivered[0].operation if delivered else None
    if operation is not None and planned is not None and not operation.site:
        operation = msgspec.structs.replace(operation, site=planned.site, data=b"")
    note = "" if delivered else _why_not(hits)
    return Injected(
        fault=text,
        kind=kind,
        hits=hits,
        fired=len(delivered),
        matched=delivered[0].matched if delivered else None,
        operation=operation,
        outputs=conducted.outputs_at_firing,
        note=firings[0].note or note if firings else note,
        stack=firings[0].stack if firings else (),
    )


def _why_not(hits: int) -> str:
    if not hits:
        return "the program never came to this call"
    return f"the program came to this call {hits} {'time' if hits == 1 else 'times'}, and none was the one planned"
