"""What fixtures have to do at the end of a test, in the reverse order, whatever the test did.

A test that failed already is not told besides that its faults did not fire: they had no time to. What a test kept of
a fixture refuses to work after it: nobody would undo what it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import TypeVar

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
