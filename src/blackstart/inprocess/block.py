"""A block of code inside which a rule is armed: what failpoints and calls have in common.

The undo stands around the effect, in a generator: an interrupt between any two lines of arming leaves nothing armed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from blackstart.inprocess.errors import AlreadyArmed, NotArmable
from blackstart.inprocess.point import Point


class Block:
    """A context manager that gives the `Point`; after its end it can be entered again, with a new count.

    Subclasses say how the point is placed. Leaving it once more does nothing.
    """

    def __init__(self, what: str, make: Callable[[], Point], may_miss: bool) -> None:
        self._what = what
        self._make = make
        self._may_miss = may_miss
        self._running: AbstractContextManager[Point] | None = None
        self._entered = False

    def placed(self, point: Point) -> AbstractContextManager[None]:
        """Inside this the program meets the rule of `point`."""
        raise NotImplementedError

    def __enter__(self) -> Point:
        if self._running is not None:
            raise AlreadyArmed(
                f"{self._what}: armed by this very object already", next_step="leave its block before the next one"
            )
        self._entered = True
        running = self._running = self._run()
        try:
            return running.__enter__()
        except BaseException:
            self._running = None
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if not self._entered:
            raise NotArmable(f"{self._what}: left without being entered", next_step="write it as a `with` block")
        running, self._running = self._running, None
        return running.__exit__(kind, error, trace) if running is not None else None

    @contextmanager
    def _run(self) -> Iterator[Point]:
        point = self._make()
        with self.placed(point):
            try:
                with point.in_scope():
                    yield point
            finally:
                point.heal()
        if not self._may_miss:
            point.must_have_fired()
