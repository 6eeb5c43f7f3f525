"""The files of the dosing controller, damaged, missing or forbidden, as a memory card leaves them.

covers: R-1, R-12, R-13, R-14, R-15, R-16, R-17, R-18
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.live.dosing.rig import DOSE_S, Rig

pytestmark = pytest.mark.live
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
        assert rig.said()["level"] == 80


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


SHAPES = {"list": b"[]", "no_object": b'{"2026-05-01": 12}', "no_number": b'{"2026-05-01": {"nutrient": "much"}}'}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.resilience(scenario="R-14")
def test_resilience_tracker_of_another_shape(
    rig: Rig, files: Any, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    with files.overwritten(rig.history, SHAPES[shape].replace(b"2026-05-01", date.today().isoformat().encode())):
        rig.controller().cycle()
        assert rig.dosed() == 1, "it does not dose any more"
        assert rig.ran() == DOSE_S
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


def cut_after_a_line(files: Any, path: Path) -> AbstractContextManager[Path]:
    """The file ends before the settings of the doses, and can be read."""
    found: AbstractContextManager[Path] = files.truncated(path, path.read_text().index("[dosing]"))
    return found


CONF_DAMAGES: dict[str, Callable[[Any, Path], AbstractContextManager[Path]]] = {
    "truncated": cut_in_a_name,
    "truncated_after_a_line": cut_after_a_line,
    "invalid": lambda files, path: files.overwritten(path, b"[sensors\nhost 127.0.0.1\n"),
    "no_number": lambda files, path: files.overwritten(path, path.read_bytes().replace(b"1.8", b"1,8")),
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


def all_read_only(rig: Rig, files: Any) -> ExitStack:
    """The directory and all that the program writes in it, as on a file system that was mounted again read-only."""
    faults = ExitStack()
    for path in (rig.saved, rig.history, rig.directory):
        faults.enter_context(files.read_only(path))
    return faults


@pytest.mark.resilience(scenario="R-17")
def test_resilience_directory_read_only(rig: Rig, files: Any) -> None:
    controller = rig.controller()
    with all_read_only(rig, files):
        controller.cycle()
        assert rig.box.commands == [("nutrient", True), ("nutrient", False)], "it does not dose any more"


@pytest.mark.resilience(scenario="R-17")
def test_resilience_directory_read_only_overdose(rig: Rig, files: Any) -> None:
    controller = rig.controller()
    with all_read_only(rig, files):
        for _ in range(4):
            controller.cycle()
    assert rig.dosed() == 2, "the overdose guard needs a file that it cannot write"


CUTS = {"kill": ["kill9"], "power": ["ext4", "xfs", "btrfs"]}
SAVE = """
import sys
from pathlib import Path
from {module} import save_json
save_json(Path(sys.argv[1]), {{"n": [2] * 999}})
print("saved", flush=True)
"""




def cuts_in_a_save(version: ModuleType, cut: str, power_loss: Any, directory: Path) -> Iterator[tuple[bool, str]]:
    """Whether the program had said that it saved, and what then stands in the file."""
    path = directory / "saved.json"
    path.write_text('{"n": [1]}')
    module = Path(str(version.__file__))
    program = [sys.executable, "-c", SAVE.format(module=module.stem), str(path)]
    for disk in power_loss(program, state=directory, models=CUTS[cut], cwd=module.parent):
        yield disk.said == b"saved\n", (disk.path / "saved.json").read_text()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.resilience(scenario="R-18")
def test_resilience_save_cut(version: ModuleType, cut: str, power_loss: Any, tmp_path: Path) -> None:
    for _, text in cuts_in_a_save(version, cut, power_loss, tmp_path):
        assert text, "an empty file is left"
        assert json.loads(text)["n"][0] in (1, 2)


@pytest.mark.resilience(scenario="R-18")
def test_resilience_save_lasts(version: ModuleType, power_loss: Any, tmp_path: Path) -> None:
    for saved, text in cuts_in_a_save(version, "power", power_loss, tmp_path):
        assert not saved or len(text) > 999, "what was saved is gone after a power cut"
