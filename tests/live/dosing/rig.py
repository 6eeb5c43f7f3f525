"""A box, links to its sensors and its relays, and controllers that look after it: all real, in one test's directory."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blackstart.core.clock import SYSTEM

if TYPE_CHECKING:
    from examples.dosing.box import Box

CONF = """[sensors]
host = 127.0.0.1
port = {sensors}
timeout_s = 5

[relays]
host = 127.0.0.1
port = {relays}

[dosing]
target_ec = 1.8
target_ph = 6.2
interval_s = 60
dose_s = 0.01
max_runtime_s = 0.025

[database]
lock_timeout_s = 0.2
"""
DOSE_S = 0.01
DEADLINE_S = 120.0


class Rig:
    """The controller under test is `module`, either version; `box` is what its server sees."""

    def __init__(self, module: ModuleType, directory: Path, box: Box, sensors: Any, relays: Any) -> None:
        self.module, self.directory, self.box = module, directory, box
        self.sensors, self.relays = sensors, relays
        self.database = directory / "jobs.sqlite"
        self.saved = directory / "saved_sensor_data.json"
        self.history = directory / "runtime_tracker_history.json"
        self.actions = directory / "action.json"
        self.conf = directory / "device.conf"
        self._made: list[Any] = []
        directory.mkdir()
        self.conf.write_text(CONF.format(sensors=sensors.port, relays=relays.port))
        # As installed: what a test does not break is there.
        for path in (self.saved, self.history, self.actions):
            path.write_text("{}")

    def hurry(self) -> None:
        """For faults that must be waited out: the next controller waits for an answer only twice a second."""
        self.conf.write_text(self.conf.read_text().replace("timeout_s = 5", "timeout_s = 1"))

    def controller(self) -> Any:
        """A new controller on this directory, as after a restart of the program."""
        made = self.module.Controller(self.directory)
        self.module.controllers[str(self.directory)] = made
        self._made.append(made)
        return made

    def started(self) -> Any:
        """One that was started and has done its first cycle; fails where it does not."""
        controller, before = self.controller(), self.box.reads
        controller.start()
        until(lambda: self.box.reads > before, "the first cycle")
        return controller

    def run_once(self) -> None:
        """Start the program, let it do one cycle, and stop it: all its files are there and whole."""
        controller = self.started()
        controller.stop()
        assert self.dosed() == 1 and self.said() and self.ran() == DOSE_S and self.database.exists()
        self.box.commands.clear()

    def close(self) -> None:
        """Stop every controller; a start that failed half-way may leave nothing to stop."""
        for controller in self._made:
            if controller.scheduler.running:
                controller.scheduler.shutdown()
            controller.sensors.client.close()
            controller.relays.client.close()

    def dosed(self, pump: str = "nutrient") -> int:
        """How often this pump was switched on."""
        return self.box.commands.count((pump, True))

    def said(self) -> dict[str, Any]:
        """What the controller says of the box in its file."""
        return dict(json.loads(self.saved.read_text()))

    def ran(self, pump: str = "nutrient") -> float:
        """The seconds that this pump ran, as the controller has written them down."""
        return float(sum(pumps.get(pump, 0.0) for pumps in json.loads(self.history.read_text()).values()))

    def command(self) -> list[str]:
        """The program as people start it."""
        return [sys.executable, str(self.module.__file__), str(self.directory)]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails at the deadline."""
    deadline = SYSTEM.monotonic() + DEADLINE_S
    while not holds():
        assert SYSTEM.monotonic() < deadline, f"{what} did not come"
        SYSTEM.sleep(0.005)


def in_time(work: Callable[[], Any]) -> Any:
    """The result of the work, which must end by itself: a failure, not a hang, where it does not."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert result, "it hangs"
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]
