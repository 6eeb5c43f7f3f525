"""Run by a child's interpreter when it starts: arms what its environment asks for, then runs the site's own file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

_HERE = str(Path(__file__).parent)
_HOUSE = str(Path(__file__).parents[3])


def _arm() -> None:
    added = importlib.util.find_spec("blackstart") is None
    if added:
        sys.path.append(_HOUSE)
    from blackstart.inprocess import children

    children.start_or_stop()
    if added:
        sys.path.remove(_HOUSE)


def _next() -> None:
    """The site's own file of this name, which ours hides."""
    sys.path[:] = [entry for entry in sys.path if entry != _HERE]
    del sys.modules["sitecustomize"]
    if importlib.util.find_spec("sitecustomize"):
        importlib.import_module("sitecustomize")
    else:
        sys.modules["sitecustomize"] = _OURS
    sys.path.insert(0, _HERE)


if os.environ.get("BLACKSTART_FAILPOINTS") and "sitecustomize" in sys.modules:
    _OURS = sys.modules["sitecustomize"]
    _arm()
    _next()
