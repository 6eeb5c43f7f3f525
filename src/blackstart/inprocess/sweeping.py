"""Every point of failure once: fail hit 1, then hit 2, and so on until a run in which nothing fired.

    for fault in sweep(partial(armed, "cas-put-before-write"), "raise(OSError: EIO)"):
        with fault:
            body()

As SQLite tests itself: transient (only hit k fails) and persistent (hit k and all later ones). The last run of each is
a clean one. `storm` is the random counterpart: some failpoints are chosen once, then each fires now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any

from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.core.verbs import near
from blackstart.inprocess.arming import armed, must_be_there
from blackstart.inprocess.errors import NotArmable
from blackstart.inprocess.modules import known_sites
from blackstart.inprocess.point import Point, names_of

TRANSIENT, PERSISTENT = "transient", "persistent"
_MODES = (TRANSIENT, PERSISTENT)
# Takes a rule, and may_miss=True; gives a context manager whose value knows `fired`.
Arm = Callable[..., AbstractContextManager[Any]]


class Step:
    """One run of a sweep: to be entered once. hit: which one fails; mode: TRANSIENT or PERSISTENT."""

    def __init__(self, arm: Arm, what: str, hit: int, mode: str) -> None:
        self.hit = hit
        self.mode = mode
        self.rule = f"@{hit}{'+' if mode == PERSISTENT else ''} {what}"
        self.point: Any = None
        self._context = arm(self.rule, may_miss=True)

    def __repr__(self) -> str:
        return f"<{self.mode} {self.rule}>"

    @property
    def fired(self) -> int:
        """How often it has fired; 0 in the run that ends the sweep."""
        return int(self.point.fired) if self.point is not None else 0

    def __enter__(self) -> Step:
        self.point = self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)


def sweep(arm: Arm, what: str, *, modes: Sequence[str] = _MODES, limit: int = 1000) -> Iterator[Step]:
    """The runs of a sweep, each to be entered by the caller.

    arm: such as `partial(armed, "name")` or `partial(armed_call, "os.fsync")`; what: a verb with its argument, without
    `@`; limit: more hits than that are an error, as are a step that is not entered and a sweep in which nothing ever
    fires.
    """
    if not modes:
        raise BlackstartError("a sweep of no mode breaks nothing", next_step=f"modes: {' '.join(_MODES)}")
    if wrong := [mode for mode in modes if mode not in _MODES]:
        raise BlackstartError(f"no mode {wrong[0]!r}{near(wrong[0], _MODES)}", next_step=f"modes: {' '.join(_MODES)}")
    for mode in modes:
        for hit in range(1, limit + 2):
            if hit > limit:
                raise BlackstartError(f"the sweep did not end after {limit} hits", next_step="raise limit=")
            step = Step(arm, what, hit, mode)
            yield step
            if step.point is None:
                raise BlackstartError(f"{step!r} was not entered", next_step="write `with fault:` in the loop")
            if not step.fired:
                if hit == 1:
                    raise BlackstartError(f"nothing was reached: the sweep of {what!r} proved nothing")
                break


@contextmanager
def storm(
    names: str | Sequence[str] | None,
    what: str,
    *,
    seed: int | Seed,
    activate: float = 0.25,
    fire: float = 0.25,
) -> Iterator[list[Point]]:
    """Activate each of these failpoints with chance `activate`, once; a hit of an active one fires with chance `fire`.

    names: None for all that the loaded modules have, but for those that nothing can arm there; of these several share a
    point. So one run has few sorts of trouble and many of each. Gives the active points: where the chances left none,
    one that is drawn. The same seed chooses the same. Names and the rule are checked whatever is chosen. Raises as
    `armed` does, and BlackstartError for a chance that is none.
    """
    for name, chance in (("activate", activate), ("fire", fire)):
        if not 0 < chance <= 1:
            raise BlackstartError(f"{name}={chance!r} is no chance", next_step="give one above 0 and at most 1")
    rule = f"{fire * 100:g}% {what}"
    of = tuple(sorted(known_sites())) if names is None else names_of(names)
    Point(of, rule)
    if names is not None:
        must_be_there(of)
    source = (seed if isinstance(seed, Seed) else Seed(seed)).source("storm")
    chosen = [name for name in of if source.random() < activate]
    with ExitStack() as stack:
        if names is None:
            yield _arm_what_can_be(stack, chosen, rule, seed) or _arm_one(stack, source.sample(of, len(of)), rule, seed)
        else:
            chosen = chosen or [source.choice(of)]
            yield [stack.enter_context(armed(name, rule, seed=seed, may_miss=True)) for name in chosen]


# Apart from the block above: an interrupt at the line of a `try` in a `with` is not seen by that `with` (CPython 3.11).
def _arm_what_can_be(stack: ExitStack, names: Sequence[str], rule: str, seed: int | Seed) -> list[Point]:
    """Arm these until the end of `stack`, as many with one point as can be: each arming compiles their module."""
    if not names:
        return []
    try:
        return [stack.enter_context(armed(names, rule, seed=seed, may_miss=True))]
    except NotArmable:
        if len(names) == 1:
            return []
    middle = len(names) // 2
    return [point for part in (names[:middle], names[middle:]) for point in _arm_what_can_be(stack, part, rule, seed)]


def _arm_one(stack: ExitStack, names: Sequence[str], rule: str, seed: int | Seed) -> list[Point]:
    """Arm the first of these that can be; NotArmable if none can."""
    for name in names:
        if point := _arm_what_can_be(stack, [name], rule, seed):
            return point
    raise NotArmable(
        "a storm over all failpoints, of which none can be armed, would break nothing",
        next_step="name one with storm(names, what): its refusal says why",
    )
