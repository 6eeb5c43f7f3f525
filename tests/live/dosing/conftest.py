"""Each test runs on both versions of the controller; what the careful one does not survive stands in gaps.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live.dosing.gaps import GAPS

CAREFUL, HARDENED = "controller", "hardened"


@pytest.fixture(params=[CAREFUL, HARDENED])
def version(request: pytest.FixtureRequest) -> ModuleType:
    """One version of the program."""
    for library in ("apscheduler", "sqlalchemy", "pymodbus"):
        pytest.importorskip(library, reason="needs the extra `examples`")
    return importlib.import_module(f"examples.dosing.{request.param}")


@pytest.fixture
def rig(version: ModuleType, link: Callable[[str], Any], tmp_path: Path) -> Iterator[Any]:
    """A box, the links to it, and the controller."""
    from examples.dosing.box import Box, BoxServer
    from tests.live.dosing.rig import Rig

    with BoxServer(Box()) as server:
        address = f"{server.host}:{server.port}"
        rig = Rig(version, tmp_path / "dosing", server.box, link(address), link(address))
        try:
            yield rig
        finally:
            rig.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the known gaps of the careful version to the markers of its tests."""
    for item in items:
        mark = item.get_closest_marker("resilience")
        if mark is None or not isinstance(item, pytest.Function) or "version" not in item.fixturenames:
            continue
        if item.callspec.params["version"] == CAREFUL:
            gap = GAPS.get(name_of(item))
            if gap:
                item.add_marker(pytest.mark.resilience(**mark.kwargs, gap=gap), append=False)


def name_of(item: pytest.Function) -> str:
    """`test_resilience_tracker_damaged[empty]`: the test without the version."""
    case = "-".join(part for part in item.callspec.id.split("-") if part not in (CAREFUL, HARDENED))
    return f"{item.originalname}[{case}]" if case else item.originalname
