"""What the page for those who come from other tools shows is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import blackstart.lab
from blackstart.lab import Lab, NetworkChaos

PAGE = Path(__file__).parents[3] / "docs" / "coming-from-tc.md"
HOSTS = ("client", "db", "web", "n1", "n2", "n3", "a", "b")
SHOWN = [
    code
    for code in re.findall(r"`([^`]+)`", PAGE.read_text())
    if re.match(r"(apply\w*|partition\w*|roam|switch_off)\(", code) and "..." not in code
]


class Told(Lab):
    """A lab that is never opened."""

    def ask(self, message: Any, descriptors: Any = ()) -> tuple[dict[str, Any], list[int]]:
        return {"number": 1}, []


def test_the_page_shows_calls() -> None:
    assert len(SHOWN) >= 25


@pytest.mark.parametrize("code", SHOWN)
def test_what_the_page_shows_is_taken(code: str) -> None:
    chaos = NetworkChaos(Told(*HOSTS, roles={"primary": ["a"], "replica": ["b", "n1"]}, seed=1))
    methods = {name: getattr(chaos, name) for name in dir(chaos) if not name.startswith("_")}
    eval(code, {**vars(blackstart.lab), **methods})
