"""The files of the dosing controller, damaged, missing or forbidden, as a memory card leaves them.

covers: R-1, R-12, R-13, R-14, R-15, R-16, R-17, R-18
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live.dosing.rig import DOSE_S, Rig

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[3]
DAMAGES = ("truncated", "garbage", "missing", "empty")
Damage = Callable[[Path], AbstractContextManager[Path]]


@pytest.fixture
def damage(kind: str, files: Any) -> Damage:
    found: Damage = getattr(files, kind)
    return found


def warned_of(caplog: pytest.LogCaptureFixture, path: Path) -> bool:
    """Whether the log says something about this file."""
    return any(path.name in line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.resilience(scenario="R-12")
def test_resilience_sensor_state_saved_over(rig: Rig, damage: Damage) -> None:
    rig.run_once()
    with damage(rig.saved):
        rig.controller().cycle()
        assert rig.said()["ec"] == pytest.approx(rig.box.tank.ec, abs=0.02)


@pytest.mark.parametrize("kind", [*DAMAGES, "unreadable"])
@pytest.mark.resilience(scenario="R-13")
def test_resilience_sensor_state_loaded(rig: Rig, damage: Damage) -> None:
    rig.run_once()
    with damage(rig.saved):
        assert rig.module.load_sensor_data(rig.saved) is None
        rig.started()


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.resilience(scenario="R-14")
def test_resilience_tracker_damaged(rig: Rig, damage: Damage, caplog: pytest.LogCaptureFixture) -> None:
    rig.run_once()
    with damage(rig.history):
        rig.controller().cycle()
        assert rig.dosed() == 1, "it does not dose any more"
        assert json.loads(rig.history.read_text()) == {date.today().isoformat(): {"nutrient": DOSE_S}}
        assert warned_of(caplog, rig.history), "it says nothing"


@pytest.mark.resilience(scenario="R-15")
def test_resilience_action_obeyed_while_whole(rig: Rig) -> None:
    rig.actions.write_text('{\n  // the bottle is empty\n  "nutrient": "off"\n}\n')
    rig.controller().cycle()
    assert rig.dosed() == 0


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.resilience(scenario="R-15")
def test_resilience_action_damaged(rig: Rig, damage: Damage) -> None:
    rig.actions.write_text('{\n  // the bottle is empty\n  "nutrient": "off"\n}\n')
    with damage(rig.actions):
        rig.controller().cycle()
        assert rig.dosed() == 1, "automatic operation does not go on"


@pytest.mark.resilience(scenario="R-15")
def test_resilience_action_of_another_shape(rig: Rig, files: Any) -> None:
    rig.actions.write_text('{"nutrient": "off"}')
    with files.overwritten(rig.actions, b'["nutrient"]'):
        rig.controller().cycle()
        assert rig.dosed() == 1, "automatic operation does not go on"


def cut_in_a_name(files: Any, path: Path) -> AbstractContextManager[Path]:
    """The file ends in the middle of a name."""
    found: AbstractContextManager[Path] = files.truncated(path, path.read_text().index("target_ph") + 5)
    return found


CONF_DAMAGES: dict[str, Callable[[Any, Path], AbstractContextManager[Path]]] = {
    "truncated": cut_in_a_name,
    "invalid": lambda files, path: files.overwritten(path, b"[sensors\nhost 127.0.0.1\n"),
    "no_number": lambda files, path: files.overwritten(path, b"[dosing]\ntarget_ec = 1,8\n"),
    "garbage": lambda files, path: files.garbage(path),
    "unreadable": lambda files, path: files.unreadable(path),
    "missing": lambda files, path: files.missing(path),
    "empty": lambda files, path: files.empty(path),
}


@pytest.mark.parametrize("kind", CONF_DAMAGES)
@pytest.mark.resilience(scenario="R-16")
def test_resilience_settings_damaged(rig: Rig, files: Any, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with CONF_DAMAGES[kind](files, rig.conf):
        controller = rig.controller()
        assert controller.settings == rig.module.Settings(), "not the defaults"
        assert warned_of(caplog, rig.conf), "it says nothing"


@pytest.mark.resilience(scenario="R-17")
def test_resilience_directory_read_only(rig: Rig, files: Any) -> None:
    controller = rig.controller()
    with files.read_only(rig.directory):
        controller.cycle()
        assert rig.box.commands == [("nutrient", True), ("nutrient", False)], "it does not dose any more"


@pytest.mark.resilience(scenario="R-17")
def test_resilience_directory_read_only_overdose(rig: Rig, files: Any) -> None:
    controller = rig.controller()
    with files.read_only(rig.directory):
        for _ in range(4):
            controller.cycle()
    assert rig.dosed() == 2, "the overdose guard needs a file that it cannot write"


CUTS = {"kill": ["kill9"], "power": ["ext4", "xfs", "btrfs"]}
SAVE = """
import sys
from pathlib import Path
from {module} import save_json
save_json(Path(sys.argv[1]), {{"n": [2] * 999}})
"""


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.resilience(scenario="R-18")
def test_resilience_save_cut(version: ModuleType, cut: str, power_loss: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    path = state / "saved.json"
    path.write_text('{"n": [1]}')
    program = [sys.executable, "-c", SAVE.format(module=version.__name__), str(path)]
    for disk in power_loss(program, state=state, models=CUTS[cut], cwd=ROOT):
        text = (disk.path / "saved.json").read_text()
        assert text, "an empty file is left"
        assert json.loads(text)["n"][0] in (1, 2)
