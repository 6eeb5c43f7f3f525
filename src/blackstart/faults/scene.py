"""What a fault may lay hands on, and what a fault is.

A trial offers a `Scene` before each start of the target; a fault's `inject` is a context manager on it, and leaving
that context is healing. A fault that falls into the gate arms a tamper; one that damages files changes the trial's
image. `account` says afterwards whether it reached the target: a fault that did not fire is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import msgspec

from blackstart.core.history import Injected
from blackstart.gate import Tamper
from blackstart.sandbox import Zygote
from blackstart.targets import Conducted

RUN, RESTART = "run", "restart"


@dataclass
class Scene:
    """One trial's image and the next start's settings.

    image: the trial's own image; start: the image it was made from (the good state); real: masked path -> real path;
    tampers and drop_capabilities take effect at the next start.
    """

    zygote: Zygote
    image: str
    start: str
    real: Callable[[str], str]
    tampers: list[Tamper] = field(default_factory=list)
    drop_capabilities: list[str] = field(default_factory=list)


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


def fired_in_gate(kind: str, text: str, conducted: Conducted, first_tamper: int, count: int = 1) -> Injected:
    """The account of a fault made of the tampers first_tamper .. first_tamper + count - 1."""
    mine = range(first_tamper, first_tamper + count)
    firings = [firing for firing in conducted.firings if firing.tamper_index in mine]
    delivered = [firing for firing in firings if firing.delivered]
    hits = sum(conducted.hits[index] for index in mine if index < len(conducted.hits))
    note = "" if delivered else f"its place was reached {hits} times and it did not act"
    return Injected(
        fault=text,
        kind=kind,
        hits=hits,
        fired=len(delivered),
        matched=delivered[0].matched if delivered else None,
        operation=delivered[0].operation if delivered else None,
        outputs=conducted.outputs_at_firing,
        note=firings[0].note or note if firings else note,
    )
