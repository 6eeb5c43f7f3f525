"""The module under test, loaded by its name without a change to the interpreter's path after the session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from blackstart import inprocess

HERE = Path(__file__).parent


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    """A fresh import of shop.py; nothing may stay armed."""
    sys.path.insert(0, str(HERE))
    sys.modules.pop("shop", None)
    import shop

    yield shop
    sys.path.remove(str(HERE))
    sys.modules.pop("shop", None)
    assert inprocess.disarm_everything() == []
