"""Kind time: jumps where the clock is read, and a clock that is the machine's own again afterwards."""

from __future__ import annotations

import os

import msgspec
import pytest

from blackstart.faults import AnyFault
from blackstart.faults.point import Point
from blackstart.faults.scene import CannotInject
from blackstart.faults.time import Jump, Uptime, candidates
from blackstart.gate import WallClock

from .build import NOTES, atomic_rewrite, calibration, clean, trace
from .scenes import Caller, Disk, conducted, scene

POINT = Point(call="write", path=NOTES, nth=2)


def jumps(run: object, reads: int = 3) -> list[tuple[str, int, float]]:
    one = clean(run)  # type: ignore[arg-type]
    yardstick = msgspec.structs.replace(calibration(None, one), clock_reads=reads)
    found = [c.fault for c in candidates(one, yardstick) if not c.crash]
    return [(f.point.call, f.point.nth, f.seconds) for f in found if isinstance(f, Jump)]


def test_in_the_middle_at_the_end_and_at_the_beginning() -> None:
    run = trace(*[("write", NOTES, {"size": 5})] * 9)
    assert jumps(run) == [("write", n, s) for n in (5, 9, 1) for s in (-3600.0, 86400.0)]


def test_never_where_nobody_reads_the_clock() -> None:
    assert jumps(atomic_rewrite(), reads=0) == []


def test_a_program_that_changes_nothing_is_met_at_its_output() -> None:
    assert jumps(trace(("write", "stdout", {"size": 5}))) == [("write", 1, -3600.0), ("write", 1, 86400.0)]


def test_the_clock_jumps_at_the_point_and_is_given_back() -> None:
    one = scene()
    with pytest.raises(KeyError), Jump(point=POINT, seconds=-5.0).inject(one):
        (order,) = one.tampers
        assert one.wall is not None and order.act is not None
        assert one.wall.offset_s == 0
        assert order.act(Caller()) == (True, "")
        assert one.wall.offset_s == -5.0
        raise KeyError
    assert one.tampers == []
    assert one.wall is None


@pytest.mark.parametrize(
    ("reads", "waits", "trouble", "fired"), [(0, 0, "", 0), (4, 0, "", 1), (4, 1, "", 0), (4, 0, "refused", 0)]
)
def test_it_fired_only_if_the_time_was_read_and_nobody_relied_on_the_true_one(
    reads: int, waits: int, trouble: str, fired: int
) -> None:
    wall = WallClock()
    wall.reads, wall.waits, wall.trouble = reads, waits, trouble
    account = Jump(point=POINT, seconds=1.0).account(conducted((0, ""), hits=(1,), wall=wall), 0)
    assert account.fired == fired
    assert account.note


def test_json_and_text() -> None:
    fault = Jump(point=POINT, seconds=-3600.0)
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault) == "the wall clock jumps 3600 s back before write $CWD/notes.json @2"


def test_a_long_uptime_where_something_is_kept_whoever_reads_the_clock() -> None:
    one = clean(trace(("write", NOTES, {"size": 5})))
    assert [c.fault for c in candidates(one, calibration(None, one))] == [Uptime()]
    asks = clean(trace(("openat", "/proc/sys/kernel/random/boot_id"), ("write", NOTES, {"size": 5})))
    assert list(candidates(asks, calibration(None, asks))) == []
    read_only = clean(trace(("read", NOTES, {"size": 5})))
    assert list(candidates(read_only, calibration(None, read_only))) == []


def test_the_uptime_is_given_back_and_fires_only_in_a_namespace_of_its_own() -> None:
    one = scene()
    with Uptime().inject(one):
        (order,) = one.tampers
        assert one.uptime_s == 50 * 86400 and order.act is not None
        assert order.act(Caller(os.getpid())) == (False, "its monotonic clock is the machine's")
    assert (one.uptime_s, one.tampers) == (0, [])
    fault = Uptime(seconds=86400)
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert fault.account(conducted((0, "")), 0).fired == 1
    with pytest.raises(CannotInject), fault.inject(scene(Disk("landlock"))):
        pass
