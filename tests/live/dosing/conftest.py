"""Each test runs on both versions of the controller; what the careful one does not survive stands in gaps.py.

It also runs on the hardened version without one of its hardenings that must turn it red (hardenings.py).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live.dosing.gaps import GAPS
from tests.live.dosing.hardenings import HARDENINGS, PREFIX, is_run_without, taken_away

CAREFUL, HARDENED = "controller", "hardened"
VERSIONS = (CAREFUL, HARDENED, *(PREFIX + name for name in HARDENINGS))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The versions that this test runs on."""
    if "version" in metafunc.fixturenames:
        test = metafunc.function.__name__
        without = [PREFIX + name for name in HARDENINGS if is_run_without(name, test)]
        metafunc.parametrize("version", [CAREFUL, HARDENED, *without], indirect=True)


@pytest.fixture
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One version of the program."""
    for library in ("apscheduler", "sqlalchemy", "pymodbus"):
        pytest.importorskip(library, reason="needs the extra `examples`")
    if request.param in (CAREFUL, HARDENED):
        yield importlib.import_module(f"examples.dosing.{request.param}")
        return
    yield taken_away(request.param.removeprefix(PREFIX), tmp_path_factory.mktemp("version"))
    del sys.modules[request.param]


@pytest.fixture
def rig(
    version: ModuleType,
    link: Callable[[str], Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """A box, the links to it, and the controller."""
    from examples.dosing.box import Box, BoxServer
    from tests.live.dosing import rig as place
    from tests.live.dosing.rig import Rig

    if request.node.get_closest_marker("xfail"):  # what must not come is waited for in vain
        monkeypatch.setattr(place, "DEADLINE_S", 5.0)
    with BoxServer(Box()) as server:
        address = f"{server.host}:{server.port}"
        rig = Rig(version, tmp_path / "dosing", server.box, link(address), link(address))
        try:
            yield rig
        finally:
            rig.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the known gaps of the careful version to its tests, and to those of a weakened one what must be red."""
    for item in items:
        mark = item.get_closest_marker("resilience")
        if mark is None or not isinstance(item, pytest.Function) or "version" not in item.fixturenames:
            continue
        version, test = item.callspec.params["version"], name_of(item)
        if version == CAREFUL and test in GAPS:
            item.add_marker(pytest.mark.resilience(**mark.kwargs, gap=GAPS[test]), append=False)
        elif version.startswith(PREFIX):  # what it finds is no gap of any program
            item.own_markers = [mark for mark in item.own_markers if mark.name != "resilience"]
            one = HARDENINGS[version.removeprefix(PREFIX)]
            if test in one.red:
                item.add_marker(pytest.mark.xfail(strict=True, reason=f"without this: {one.what}"))


def name_of(item: pytest.Function) -> str:
    """`test_resilience_tracker_damaged[empty]`: the test without the version."""
    case = "-".join(part for part in item.callspec.id.split("-") if part not in VERSIONS)
    return f"{item.originalname}[{case}]" if case else item.originalname
