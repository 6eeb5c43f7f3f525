"""The state of an image, written out: what stands there, and what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blackstart.campaign.disk import write_state
from blackstart.core.errors import BlackstartError
from blackstart.sandbox.copying import Copier


def written(state: Path, place: Path) -> list[tuple[str, str]]:
    zygote: Any = SimpleNamespace(path=lambda image, root: str(state))
    layout: Any = SimpleNamespace(copies=("/var/state",), made=())
    return write_state(zygote, layout, "image", str(place), Copier(limit_bytes=1 << 20))


def test_it_stands_below_the_place_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/notes").write_text("one")
    assert written(tmp_path / "state", tmp_path / "out") == [("/var/state", f"{tmp_path}/out/var/state")]
    assert (tmp_path / "out/var/state/notes").read_text() == "one"


def test_a_place_that_cannot_be_written_is_the_operators_to_change(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(BlackstartError, match="cannot be written"):
        written(tmp_path / "state", tmp_path / "out")
