"""What fixtures have to do at the end of a test, in the reverse order, whatever the test did.

A test that failed already is not told besides that its faults did not fire: they had no time to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

FAILED = pytest.StashKey[bool]()


class TestFailed(Exception):
    """Given to what is undone after a failed test, so that it undoes without judging."""

    __test__ = False


@contextmanager
def undone(request: pytest.FixtureRequest) -> Iterator[ExitStack]:
    """A stack of context managers that are left when the test is over."""
    try:
        with ExitStack() as stack:
            yield stack
            if request.node.stash.get(FAILED, True):
                raise TestFailed
    except TestFailed:
        pass
