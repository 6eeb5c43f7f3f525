"""A lab of two hosts, opened once for a module; skipped, with the reason, where this machine gives no namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from blackstart.lab import Lab, LabUnavailable, NetworkChaos


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


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    with opened("client", "server", seed=11) as lab:
        yield lab


@pytest.fixture
def chaos(pair: Lab) -> Iterator[NetworkChaos]:
    with NetworkChaos(pair) as made:
        yield made
