"""A hostile program tries every door in every isolation, as root and as an ordinary user; the host is as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blackstart.sandbox import probe

from .people import people, person

pytestmark = pytest.mark.live
KEEPER = str(Path(__file__).with_name("keeper.py"))
DOORS_MIN = 25


@pytest.mark.parametrize("who", people())
@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_no_door_leads_out(isolation: str, who: str) -> None:
    if not getattr(probe(), isolation):
        pytest.skip(f"no {isolation} on this machine")
    with person(who) as somebody:
        ended = somebody.run(KEEPER, isolation, str(somebody.work), timeout_s=550)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert len(found["doors"]) >= DOORS_MIN
    assert found["differences"] == {}
    assert found["heard"] == []
    assert found["left"] == []
    assert found["traps"] == []
