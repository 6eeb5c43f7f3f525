"""The sensors of the dosing controller, behind a Modbus TCP connection that fails, or telling what cannot be.

covers: R-3, R-19, R-20, R-21, R-22, R-23, R-24, R-25, R-26, R-27
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.live.dosing.rig import Rig, in_time

pytestmark = pytest.mark.live
# A whole answer has 15 bytes: 7 of the header, the function, the length, and three registers.
PARTS = (1, 5, 8, 12, 14)


def looked(rig: Rig) -> Any:
    """A controller that has read its sensors once."""
    controller = rig.controller()
    assert controller.sensors.read()["level"] == 80
    return controller


@pytest.mark.resilience(scenario="R-19")
def test_resilience_sensor_refused(rig: Rig) -> None:
    controller = rig.controller()
    with rig.sensors.refused():
        assert controller.sensors.read() is None
        controller.cycle()
    assert rig.box.commands == []


@pytest.mark.resilience(scenario="R-20")
def test_resilience_sensor_hangs(rig: Rig) -> None:
    rig.hurry()
    controller = looked(rig)
    with rig.sensors.silent():
        assert in_time(controller.sensors.read) is None
        in_time(controller.cycle)
    assert rig.box.commands == []


@pytest.mark.parametrize("reads", [1, 2, 3])
@pytest.mark.resilience(scenario="R-21")
def test_resilience_sensor_reset(rig: Rig, reads: int) -> None:
    controller = looked(rig)
    with rig.sensors.reset():
        for _ in range(reads):  # on the connection there was, then on new ones
            assert controller.sensors.read() is None
    assert controller.sensors.read() is not None, "the next read does not work"


@pytest.mark.parametrize("answer_bytes", PARTS)
@pytest.mark.resilience(scenario="R-22")
def test_resilience_sensor_partial_answer(rig: Rig, answer_bytes: int) -> None:
    controller = looked(rig)
    with rig.sensors.partial(answer_bytes):
        assert in_time(controller.sensors.read) is None
    assert in_time(controller.sensors.read) is not None, "the next read does not work"


@pytest.mark.resilience(scenario="R-23")
def test_resilience_sensor_comes_back(rig: Rig) -> None:
    controller = looked(rig)
    with rig.sensors.refused():
        controller.cycle()
        controller.cycle()
        assert rig.dosed() == 0
    controller.cycle()
    assert rig.dosed() == 1


@pytest.mark.resilience(scenario="R-24")
def test_resilience_sensor_silent(rig: Rig) -> None:
    rig.hurry()
    controller = rig.controller()
    controller.cycle()
    assert rig.said()["ec"] is not None
    with rig.sensors.silent():
        in_time(controller.cycle)
    assert rig.said()["ec"] is None, "readings of the past stand there as if they were of now"


def assert_rejected(rig: Rig, caplog: pytest.LogCaptureFixture, word: str) -> None:
    controller = rig.controller()
    controller.cycle()
    assert rig.box.reads > 0
    assert rig.box.commands == [], f"it switched {rig.box.commands}"
    warnings = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert any(word in warning for warning in warnings), "it says nothing"


@pytest.mark.resilience(scenario="R-25")
def test_resilience_sensor_all_zeros(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.box.probes = [0, 0, 0]
    assert_rejected(rig, caplog, "not initialised")


@pytest.mark.resilience(scenario="R-26")
def test_resilience_sensor_all_ones(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.box.probes = [0xFFFF, 0xFFFF, 0xFFFF]
    assert_rejected(rig, caplog, "impossible")


@pytest.mark.resilience(scenario="R-27")
def test_resilience_sensor_intermittent(rig: Rig) -> None:
    controller = looked(rig)
    readings = []
    with rig.sensors.failing(0.5):
        for _ in range(20):
            rig.sensors.proxy.disconnect()
            readings.append(controller.sensors.read())
    good = [reading for reading in readings if reading is not None]
    assert all(reading["level"] == 80 for reading in good)
    assert 0 < len(good) < len(readings), f"{len(good)} of {len(readings)} reads were good"
