"""What a service is, and what is done with it in one start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from blackstart.gate import Tamper
from blackstart.targets.command import Command
from blackstart.targets.readiness import Ready


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is reached and used.

    ready: how one sees that it is up; workload: what uses it (None: it idles for idle_s); check: what asks its state;
    stop_limit_s: between TERM and KILL; stops: it is not known to ignore TERM, so that what it does instead is told.
    """

    ready: Ready
    workload: Command | None = None
    check: Command | None = None
    idle_s: float = 1.0
    stop_limit_s: float = 10.0
    stops: bool = True


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What this start does when it is ready."""

    # Whether the workload runs; whether the check does, and the ids that it is told as acknowledged.
    works: bool = True
    asks: bool = True
    acknowledged: tuple[str, ...] = ()
    # Done as soon as it is ready, again until it is true or a second has passed.
    when_ready: Callable[[], bool] | None = None
    # Ends the faults that do not end by themselves (None: there are none); how long at least they stay before that, and
    # how long the service then has to be well again.
    heal: Callable[[], None] | None = None
    hold_s: float = 0.0
    settle_s: float = 5.0
    # Whether what breaks is well again once it has been broken, before that healing.
    is_brief: bool = False
    # Whether the workload runs once more after healing, and again for at most again_max_s until all is done.
    works_again: bool = False
    again_max_s: float = 60.0
    # How long it is watched when it is ready again; or shorter, until it did something of each of these by itself
    # (none: of what it did at all).
    watch_s: float = 0.0
    effects: tuple[frozenset[str], ...] = ()
    # Called with what the workload says, before the target's next recorded operation is done.
    heard: Callable[[bytes], None] | None = None
    # Called before each further round of fault, work and healing within this start, with what is to be armed then
    # (none: there is one round only).
    again: Sequence[Callable[[], Sequence[Tamper]]] = ()
    # Whether the workload runs once more, whatever comes of it, before it is told to stop.
    works_after: bool = False
    # Whether it gets time to let go of what it holds for clients that are gone.
    lets_go: bool = False
    # Sent just after TERM.
    signals_at_stop: tuple[int, ...] = ()
