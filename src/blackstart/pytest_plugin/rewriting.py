"""Failpoints in modules whose assertions pytest rewrote: test files, conftest files and plugins.

Their code is not what their source alone compiles to, so arming would refuse it; with the same rewriting done to what
is compiled for comparison, it is equal again, and the armed code keeps the good messages of assertions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook, rewrite_asserts


@contextmanager
def known(config: pytest.Config) -> Iterator[None]:
    """While inside, arming knows what pytest does to the modules that it rewrites."""
    from blackstart.inprocess.modules import rewriters

    def how(module: ModuleType, path: str, source: str) -> Callable[[ast.Module], None] | None:
        if not isinstance(getattr(module, "__loader__", None), AssertionRewritingHook):
            return None
        return lambda tree: rewrite_asserts(tree, source.encode(), path, config)

    rewriters.append(how)
    try:
        yield
    finally:
        rewriters.remove(how)
