"""The relays of the dosing controller: what a pump really does while the connection to its relay fails.

covers: R-3, R-28, R-29, R-30, R-31
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import Any

import pytest

from tests.live.dosing.rig import DEADLINE_S, Rig, in_time, until

pytestmark = pytest.mark.live
# The function codes of Modbus.
READ_COILS, WRITE_COIL = 1, 5


def cycle_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Any) -> Any:
    """A controller after one cycle, in which this fault came while the nutrient pump was on; it is gone now."""
    controller = rig.controller()
    with ExitStack() as faults:

        def cut(_: float) -> None:
            monkeypatch.setattr(rig.module, "sleep", lambda _: None)
            assert rig.box.relays[0], "the fault came too early"
            faults.enter_context(fault)

        monkeypatch.setattr(rig.module, "sleep", cut)
        in_time(controller.cycle)
    return controller


@pytest.mark.resilience(scenario="R-28")
def test_resilience_relay_lost_is_unknown(rig: Rig) -> None:
    controller = rig.controller()
    with rig.relays.refused():
        in_time(controller.cycle)
        assert rig.box.commands == []
        assert rig.said()["relays"]["nutrient"] is None, "it says it knows the state of the relay"


@pytest.mark.resilience(scenario="R-28")
def test_resilience_relay_lost_while_the_pump_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = cycle_cut(rig, monkeypatch, rig.relays.refused())
    assert rig.box.relays[0], "the fault came too late"
    rig.box.tank.ec = 3.0
    in_time(controller.cycle)
    assert not rig.box.relays[0], "the pump runs on after the connection is back"


@pytest.mark.resilience(scenario="R-28")
def test_resilience_relay_lost_and_stopped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle_cut(rig, monkeypatch, rig.relays.refused()).stop()
    assert not rig.box.relays[0], "the pump runs on after the program has ended"


@pytest.mark.resilience(scenario="R-28")
def test_resilience_relay_lost_counts_as_an_overdose(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = cycle_cut(rig, monkeypatch, rig.relays.refused())
    in_time(controller.cycle)
    assert rig.dosed() == 1, "nobody knows how long the pump ran, and it doses again"


@pytest.mark.resilience(scenario="R-28")
def test_resilience_relay_on_at_sigterm(rig: Rig) -> None:
    rig.conf.write_text(rig.conf.read_text().replace("dose_s = 0.01", "dose_s = 4").replace("0.025", "5"))
    with subprocess.Popen(rig.command(), stderr=subprocess.DEVNULL) as program:
        try:
            until(lambda: rig.box.relays[0], "the dose")
            program.terminate()
            program.wait(DEADLINE_S)
        finally:
            program.kill()
    assert not rig.box.relays[0], "the pump runs on after the program has ended"


@pytest.mark.resilience(scenario="R-29")
def test_resilience_relay_command_refused(rig: Rig) -> None:
    rig.box.broken = {WRITE_COIL}
    controller = rig.controller()
    controller.cycle()
    assert rig.box.commands == []
    assert rig.said()["relays"]["nutrient"] is None, "it says it knows the state of the relay"


@pytest.mark.resilience(scenario="R-29")
def test_resilience_relay_not_acknowledged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.hurry()
    controller = cycle_cut(rig, monkeypatch, rig.relays.silent())
    assert rig.said()["relays"]["nutrient"] is None, "it says it knows the state of the relay"
    rig.box.tank.ec = 3.0
    in_time(controller.cycle)
    assert not rig.box.relays[0], "the pump runs on after the connection is back"
    assert rig.said()["relays"]["nutrient"] is False


@pytest.mark.resilience(scenario="R-30")
def test_resilience_relay_not_read_back(rig: Rig) -> None:
    rig.box.broken = {READ_COILS}
    controller = rig.controller()
    controller.cycle()
    assert rig.dosed() == 0, "it doses although nothing says what the relays do"
    assert rig.said()["relays"]["nutrient"] is None


@pytest.mark.resilience(scenario="R-30")
def test_resilience_relay_not_read_back_after_the_dose(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = rig.controller()
    monkeypatch.setattr(rig.module, "sleep", lambda _: rig.box.broken.add(READ_COILS))
    controller.cycle()
    assert rig.dosed() == 1
    assert rig.said()["relays"]["nutrient"] is None, "it says it knows the state of the relay"


@pytest.mark.resilience(scenario="R-31")
def test_resilience_box_gone(rig: Rig) -> None:
    controller = rig.controller()
    controller.cycle()
    with rig.sensors.refused(), rig.relays.refused():
        controller.cycle()
        assert rig.said()["ec"] is None, "readings of the past stand there as if they were of now"
        assert rig.said()["relays"]["nutrient"] is None, "it says it knows the state of the relay"
    controller.cycle()
    assert rig.dosed() == 2
