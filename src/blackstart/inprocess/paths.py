"""Dotted paths: the module that one begins with, imported, and what is left of it."""

from __future__ import annotations

import importlib
from types import ModuleType


def module_of(path: str) -> tuple[ModuleType, tuple[str, ...]] | None:
    """(the longest module that the path begins with, the names after it); None if there is no such module.

    A module that exists and cannot be imported raises what it raises.
    """
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            return importlib.import_module(name), tuple(parts[count:])
        except ModuleNotFoundError as error:
            if not error.name or (name != error.name and not name.startswith(error.name + ".")):
                raise
    return None
