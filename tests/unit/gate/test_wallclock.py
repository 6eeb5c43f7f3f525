"""The wall clock: what is written into the vDSO, and what a reading is answered."""

from __future__ import annotations

import os
import struct

import pytest

from blackstart.gate import WallClock, wallclock
from blackstart.gate.operations import Event
from blackstart.gate.tasks import Process
from blackstart.gate.wallclock import changes, system_call


def event(*arguments: int) -> Event:
    return (0, 1, 0, 0, 0, 0, *arguments, *[0] * (6 - len(arguments)))  # type: ignore[return-value]


def test_the_code_makes_the_call_and_returns() -> None:
    assert system_call(228, "x86_64") == bytes.fromhex("b8e4000000 0f05 c3")
    assert struct.unpack("<III", system_call(113, "aarch64")) == (0xD2800E28, 0xD4000001, 0xD65F03C0)


def test_only_the_first_instruction_of_a_function_is_replaced_and_free_room_is_used() -> None:
    image = bytes(range(1, 129)) + bytes(128)
    made = changes(image, {16: 228, 64: 96}, "x86_64")
    assert {at: old for at, (_, old) in made.items() if at < 128} == {16: image[16:21], 64: image[64:69]}
    for at, number in ((16, 228), (64, 96)):
        jump = made[at][0]
        place = at + 5 + struct.unpack("<i", jump[1:])[0]
        assert made[place] == (system_call(number, "x86_64"), bytes(8))
        assert place >= 128 and not any(image[place : place + 16])


def test_a_jump_on_arm64() -> None:
    made = changes(bytes([7] * 64) + bytes(64), {4: 113}, "aarch64")
    (jump,) = struct.unpack("<I", made[4][0])
    assert 4 + (jump & 0x3FFFFFF) * 4 in made


def test_without_room_nothing_is_changed() -> None:
    with pytest.raises(OSError, match="no room"):
        changes(bytes([7] * 128), {4: 113}, "x86_64")


@pytest.fixture
def own() -> Process:
    return Process(os.getpid(), os.getpid())


def test_waits_until_a_time_are_counted_after_a_jump_and_those_for_a_time_are_not(own: Process) -> None:
    wall = WallClock()
    until, span, forever = event(0, 1), event(0, 0), event(1, 9, 0, 0)
    assert wall.answer("clock_nanosleep", own, until) is None
    assert wall.waits == 0
    wall.jump(1.0)
    for call, given in (("clock_nanosleep", span), ("futex", forever), ("clock_nanosleep", event(1, 1))):
        assert wall.answer(call, own, given) is None
        assert wall.waits == 0
    wall.answer("clock_nanosleep", own, until)
    wall.answer("futex", own, event(1, 9, 0, 5000))
    assert wall.waits == 2


def test_readings_are_answered_with_the_jump(own: Process) -> None:
    wall = WallClock()
    before = wall.answer("time", own, event(0))
    wall.jump(86400.0)
    after = wall.answer("time", own, event(0))
    assert before is not None and after is not None
    assert 86400 <= after[0] - before[0] <= 86460
    assert wall.reads == 1


def test_who_reads_it_all_the_time_gets_the_machines_clock_back(monkeypatch: pytest.MonkeyPatch, own: Process) -> None:
    given: list[tuple[int, bool]] = []
    monkeypatch.setattr(wallclock, "_patch", lambda task, undo=False: given.append((task, undo)))
    monkeypatch.setattr(wallclock, "READS_MAX", 2)
    wall = WallClock(counts=True)
    for _ in range(3):
        assert wall.answer("time", own, event(0)) is not None
    assert given == [(own.task, True)]
    assert "too often" in wall.trouble


def test_a_program_that_is_replaced_is_met_anew_and_a_refusal_is_told(
    monkeypatch: pytest.MonkeyPatch, own: Process
) -> None:
    given: list[int] = []
    monkeypatch.setattr(wallclock, "_patch", given.append)
    wall = WallClock()
    for is_replaced in (False, False, True, False):
        wall.follow(own, is_replaced=is_replaced)
    assert given == [own.task] * 2

    def refuse(_: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(wallclock, "_patch", refuse)
    other = WallClock()
    other.follow(own, is_replaced=False)
    assert "Permission denied" in other.trouble
