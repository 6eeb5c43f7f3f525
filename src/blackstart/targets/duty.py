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
    """What this start does when it is ready.

    works: whether the workload runs; asks: whether the check does; acknowledged: ids that the check is told; heal:
    ends the faults that do not end by themselves (None: there are none); settle_s: how long it then has to be well
    again; signals_at_stop: sent just after TERM; works_again: whether the workload runs once more after healing, and
    again for at most again_max_s until all is done; is_brief: what breaks is well again once it has been broken, before
    that healing; when_ready: done as soon as it is ready, again until it is true or
    a second has passed; hold_s: how long at least after that the faults stay; watch_s: how long it is watched when it
    is ready again, or shorter, until it did something of each of `effects` by itself (none: of what it did at all);
    heard: called with what the workload says, before the target's next recorded operation is done; again:
    called before each further round of fault, work and healing within this start, with what is to be armed then (none:
    there is one round only); works_after: whether the workload runs once more, whatever comes of it, before it is told
    to stop; lets_go: whether it gets time to let go of what it holds for clients that are gone.
    """

    works: bool = True
    asks: bool = True
    acknowledged: tuple[str, ...] = ()
    heal: Callable[[], None] | None = None
    settle_s: float = 5.0
    signals_at_stop: tuple[int, ...] = ()
    works_again: bool = False
    again_max_s: float = 60.0
    is_brief: bool = False
    when_ready: Callable[[], bool] | None = None
    hold_s: float = 0.0
    watch_s: float = 0.0
    effects: tuple[frozenset[str], ...] = ()
    heard: Callable[[bytes], None] | None = None
    works_after: bool = False
    lets_go: bool = False
    again: Sequence[Callable[[], Sequence[Tamper]]] = ()
