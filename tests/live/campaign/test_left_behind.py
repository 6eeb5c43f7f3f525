"""What a run leaves on the machine itself stands in the ledger before it is made."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from blackstart.campaign import ground
from blackstart.guard import undo
from blackstart.sandbox import Layout, probe
from blackstart.sandbox.machine import LANDLOCK

pytestmark = pytest.mark.live


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A program's directory in which results are kept, and its state."""
    work = tmp_path / "work"
    (work / ".blackstart").mkdir(parents=True)
    (work / "state").mkdir()
    (work / "state" / "notes").write_text("one\n")
    return Layout.of(cwd=str(work), home=str(work), copies=(str(work / "state"),))


@pytest.mark.parametrize("is_killed", [True, False])
def test_no_work_area_outlives_undo(layout: Layout, elsewhere: Path, is_killed: bool) -> None:
    if not probe().landlock:
        pytest.skip("no Landlock on this machine")
    with ground.open_zygote(layout, LANDLOCK) as zygote:
        zygote.capture("S0")
        assert len(os.listdir(elsewhere)) == 1
        if is_killed:
            os.kill(zygote.pid, signal.SIGKILL)
    assert bool(os.listdir(elsewhere)) == is_killed
    ledger = Path(layout.cwd) / ".blackstart" / "ledger"
    assert [one.outcome for one in undo(ledger)] == ["was gone", "removed" if is_killed else "was gone"]
    assert os.listdir(elsewhere) == [] and undo(ledger) == []
