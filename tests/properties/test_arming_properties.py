"""Whatever is armed and disarmed in whatever order, code fires as its rules say, and is at the end what it was.

covers: M-4, M-5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blackstart.inprocess import armed

SOURCE = """
def outer():
    # failpoint: p0
    def inner():
        # failpoint: p1
        return 1
    return inner

class C:
    def method(self):
        # failpoint: p2
        # failpoint: p3
        return 1

def other():
    return 1

kept = outer()
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Four failpoints: one in a nested function, two on neighbouring lines."""
    place = tmp_path_factory.mktemp("armed")
    (place / "armed_by_chance.py").write_text(SOURCE)
    sys.path.insert(0, str(place))
    yield __import__("armed_by_chance")
    sys.path.remove(str(place))
    sys.modules.pop("armed_by_chance")
    Path(place / "armed_by_chance.py").unlink()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 3), max_size=14))
def test_any_order_of_arming_and_disarming_ends_where_it_began(module: Any, steps: list[int]) -> None:
    functions = [module.outer, module.kept, module.C.method, module.other]
    before = [function.__code__ for function in functions]
    armed_now: dict[int, tuple[Any, ExitStack]] = {}
    born = []
    for step in steps:
        if step in armed_now:
            armed_now.pop(step)[1].close()
        else:
            stack = ExitStack()
            armed_now[step] = (stack.enter_context(armed(f"p{step}", "print", may_miss=True)), stack)
        counts = {name: point.hits for name, (point, _) in armed_now.items()}
        born.append(module.outer())
        for inner in (module.kept, born[-1], module.C().method):
            assert inner() == 1
        expected = {0: 1, 1: 2, 2: 1, 3: 1}
        for name, (point, _) in armed_now.items():
            assert point.hits - counts[name] == expected[name]
    for _, stack in armed_now.values():
        stack.close()
    assert all(function.__code__ is code for function, code in zip(functions, before, strict=True))
    assert all(inner.__code__ == module.kept.__code__ for inner in born)
