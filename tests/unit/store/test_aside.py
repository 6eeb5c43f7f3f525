"""What is too long to be shown is kept beside the results, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.store import keep_aside


def test_the_next_time_takes_the_place_of_the_last(tmp_path: Path) -> None:
    keep_aside(str(tmp_path), "lost-1", {"run.stdout": b"old", "restart.stderr": b"old"})
    (kept,) = keep_aside(str(tmp_path), "lost-1", {"run.stderr": b"new \xff"})
    assert kept == ".blackstart/replay/lost-1/run.stderr" and (tmp_path / kept).read_bytes() == b"new \xff"
    assert [path.name for path in (tmp_path / kept).parent.iterdir()] == ["run.stderr"]
    assert (tmp_path / ".blackstart" / ".gitignore").read_text() == "*\n"


def test_a_hostile_name_does_not_lead_out(tmp_path: Path) -> None:
    (kept,) = keep_aside(str(tmp_path), "../../x\n", {"run.stderr": b"x"})
    assert kept == ".blackstart/replay/______x_/run.stderr" and (tmp_path / kept).exists()


def test_what_is_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / ".blackstart").mkdir()
    (tmp_path / ".blackstart" / "replay").write_text("")
    with pytest.raises(BlackstartError, match="cannot be kept"):
        keep_aside(str(tmp_path), "lost-1", {"run.stderr": b"x"})
