"""A lab of two hosts, opened once for a module; skipped, with the reason, where this machine gives no namespaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from blackstart.lab import Applied, Lab, LabUnavailable, NetworkChaos


@contextmanager
def opened(*hosts: str, **options: Any) -> Iterator[Lab]:
    """A lab that is open."""
    lab = Lab(*hosts, **options)
    try:
        lab.__enter__()
    except LabUnavailable as error:
        pytest.skip(f"needs namespaces: {error.what}")
    with closing(lab):
        yield lab


def until(met: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Wait for it; fails past the deadline, in seconds."""
    end = time.monotonic() + deadline_s
    while not met():
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.01)


def fired(applied: Applied) -> bool:
    """Whether it did anything to any packet."""
    return any(number for fate, number in applied.counts().items() if fate != "seen")


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    with opened("client", "server", seed=11) as lab:
        yield lab


@pytest.fixture
def chaos(pair: Lab) -> Iterator[NetworkChaos]:
    with NetworkChaos(pair) as made:
        yield made
