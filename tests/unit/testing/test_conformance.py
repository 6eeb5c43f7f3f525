"""The check of faults, checked: a good fault passes, and each broken promise is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from blackstart.testing import check_fault, check_value

WORLD: dict[str, object] = {}


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    WORLD.clear()
    yield
    WORLD.clear()


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """A good fault: the undo stands around the effect."""

    name: str = "db"
    places: tuple[int, ...] = (1, 2)

    @contextmanager
    def inject(self, target: dict[str, object]) -> Iterator[None]:
        try:
            target[self.name] = "paused"
            target["more"] = self.places
            yield
        finally:
            target.pop(self.name, None)
            target.pop("more", None)


def seen() -> dict[str, object]:
    return dict(WORLD)


def check(fault: Callable[[], Any]) -> None:
    check_fault(fault, seen, target=WORLD)


def test_a_good_fault_passes_as_a_value_and_as_a_context_manager() -> None:
    check(Pause)
    check(lambda: Pause().inject(WORLD))


@dataclass
class Thawed:
    name: str = "db"


@dataclass(frozen=True)
class Clock:
    name: str = "db"

    def __repr__(self) -> str:
        return f"<the clock {self.name}>"


class Deaf(Pause, frozen=True, tag="deaf"):
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Thawed, "hash"),
        (Clock, "repr cannot be pasted back"),
        (Deaf, "two faults made alike are not equal"),
        (dict, "neither a Struct nor a dataclass"),
    ],
)
def test_a_value_that_is_none_is_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises((AssertionError, TypeError), match=says):
        check_value(make)


@contextmanager
def undone_too_late() -> Iterator[None]:
    WORLD["db"] = "paused"
    WORLD["more"] = 1
    try:
        yield
    finally:
        WORLD.clear()


@contextmanager
def nothing_at_all() -> Iterator[None]:
    yield


@contextmanager
def forgets() -> Iterator[None]:
    WORLD["db"] = "paused"
    yield


@contextmanager
def forgets_when_the_body_fails() -> Iterator[None]:
    try:
        WORLD["db"] = "paused"
        yield
    except Exception:
        raise
    except BaseException:
        WORLD.clear()
        raise
    else:
        WORLD.clear()


@contextmanager
def swallows() -> Iterator[None]:
    try:
        with suppress(Exception):
            WORLD["db"] = "paused"
            yield
    finally:
        WORLD.clear()


@contextmanager
def speaks_over() -> Iterator[None]:
    try:
        WORLD["db"] = "paused"
        yield
    except Exception:
        raise ValueError("not healed") from None
    finally:
        WORLD.clear()


@contextmanager
def leaks() -> Iterator[None]:
    try:
        WORLD["db"] = os.open("/dev/null", os.O_RDONLY)
        yield
    finally:
        WORLD.clear()


class Eager:
    def __init__(self) -> None:
        WORLD["db"] = "paused"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        WORLD.clear()


class OnlyOnce:
    def __enter__(self) -> None:
        WORLD["db"] = "paused"

    def __exit__(self, *_: object) -> None:
        del WORLD["db"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (undone_too_late, r"not gone when inject is interrupted before .*test_conformance.py:\d+ .undone_too_late"),
        (nothing_at_all, "nothing to be seen after inject"),
        (forgets, "not gone after heal"),
        (forgets_when_the_body_fails, "not gone after a body that failed"),
        (swallows, "the body's exception is swallowed"),
        (speaks_over, r"the body's exception is replaced by ValueError"),
        (leaks, "leaves behind: descriptor"),
        (Eager, "something happens before inject"),
        (OnlyOnce, "the second heal raises KeyError"),
    ],
)
def test_each_broken_promise_is_named(make: Callable[[], AbstractContextManager[None]], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check(make)


def test_what_changes_by_itself_cannot_be_observed() -> None:
    counts = iter(range(100))
    with pytest.raises(AssertionError, match="changes by itself"):
        check_fault(Pause, lambda: next(counts), target=WORLD)
