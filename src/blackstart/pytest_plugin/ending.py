"""What fixtures have to do at the end of a test, in the reverse order, whatever the test did.

A test that failed already is not told besides that its faults did not fire: they had no time to. What a test kept of
a fixture refuses to work after it: nobody would undo what it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, TypeVar

import pytest

FAILED = pytest.StashKey[bool]()


class TestFailed(Exception):
    """Given to what is undone after a failed test, so that it undoes without judging."""

    __test__ = False


T = TypeVar("T")


class Undoing(ExitStack):
    """What is undone at the end of a test; BlackstartError for whoever adds to it later. name: of the fixture."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._is_over = False

    def must_not_be_over(self) -> None:
        if self._is_over:
            from blackstart.core.errors import BlackstartError

            raise BlackstartError(
                f"the fixture `{self._name}` was used after its test: nobody would undo what it does",
                next_step="ask for it in each test that uses it",
            )

    def enter_context(self, cm: AbstractContextManager[T]) -> T:
        self.must_not_be_over()
        return super().enter_context(cm)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool:
        self._is_over = True
        return bool(super().__exit__(kind, error, trace))


@contextmanager
def undone(request: pytest.FixtureRequest) -> Iterator[Undoing]:
    """A stack of context managers that are left when the test is over."""
    try:
        with Undoing(request.fixturename or "") as stack:
            yield stack
            if request.node.stash.get(FAILED, True):
                raise TestFailed
    except TestFailed:
        pass


class _Offered(AbstractContextManager[Any]):
    """A context manager that knows whether it was entered."""

    def __init__(self, what: str, inner: AbstractContextManager[Any]) -> None:
        self.what = what
        self.is_entered = False
        self._inner = inner

    def __enter__(self) -> Any:
        self.is_entered = True
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        return self._inner.__exit__(kind, error, trace)


class Runs:
    """Iterators that a test made; one that it never ran broke nothing and fails it.

    what: what such a one is; step: how it is written.
    """

    def __init__(self, what: str, step: str) -> None:
        self._what = what
        self._step = step
        self._waiting: list[Iterator[Any]] = []

    def of(self, steps: Iterator[T]) -> Iterator[T]:
        """The same steps, which are noted as run with the first."""

        def run() -> Iterator[T]:
            self._waiting.remove(made)
            yield from steps

        made = run()
        self._waiting.append(made)
        return made

    @contextmanager
    def all_run(self) -> Iterator[None]:
        """BlackstartError after the block for one that was not run."""
        yield
        if self._waiting:
            from blackstart.core.errors import BlackstartError

            raise BlackstartError(f"{self._what} was made and never run, so it broke nothing", next_step=self._step)


Offer = Callable[[str, Callable[..., AbstractContextManager[Any]]], Callable[..., AbstractContextManager[Any]]]


@contextmanager
def offering(request: pytest.FixtureRequest) -> Iterator[Offer]:
    """What makes a context manager, by its name; one that a test made and never entered broke nothing and fails it."""
    made: list[_Offered] = []

    def offer(
        name: str, make: Callable[..., AbstractContextManager[Any]]
    ) -> Callable[..., AbstractContextManager[Any]]:
        @functools.wraps(make)
        def offered(*arguments: Any, **named: Any) -> AbstractContextManager[Any]:
            made.append(_Offered(name, make(*arguments, **named)))
            return made[-1]

        return offered

    with undone(request) as stack:
        stack.enter_context(_all_entered(made))
        yield offer


@contextmanager
def _all_entered(made: list[_Offered]) -> Iterator[None]:
    yield
    for one in made:
        if not one.is_entered:
            from blackstart.core.errors import BlackstartError

            raise BlackstartError(
                f"{one.what}(...) was never entered, so it broke nothing", next_step=f"write `with {one.what}(...):`"
            )
