"""Kind disk: full where the run needs room, and plenty again afterwards."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.faults import AnyFault
from blackstart.faults.disk import BYTES, ENTRIES, Full, candidates
from blackstart.faults.point import Point
from blackstart.faults.scene import CannotInject

from .build import NOTES, TEMPORARY, atomic_rewrite, calibration, clean, trace
from .scenes import Caller, Disk, conducted, scene

POINT = Point(call="write", path=NOTES, nth=2)


def faults(*rows: tuple[object, ...]) -> list[Full]:
    one = clean(trace(*rows))
    return [c.fault for c in candidates(one, calibration(None, one)) if isinstance(c.fault, Full) and not c.crash]


def test_each_call_that_needs_room_is_met_by_a_full_disk() -> None:
    one = clean(atomic_rewrite())
    found = [c.fault for c in candidates(one, calibration(None, one)) if isinstance(c.fault, Full) and not c.crash]
    assert {(f.point.call, f.point.path, f.what) for f in found} == {
        ("openat", TEMPORARY, ENTRIES),
        ("write", TEMPORARY, BYTES),
    }
    assert {f.freed for f in found if f.what == BYTES} == {False, True}


def test_a_large_write_is_also_cut_in_its_middle() -> None:
    assert [f.room for f in faults(("write", NOTES, {"size": 40960}))] == [0, 0, 20480]
    assert [f.room for f in faults(("write", NOTES, {"size": 5000}))] == [0, 0]


def test_shared_memory_of_its_own_is_not_put_on_a_full_disk() -> None:
    rows = ("ftruncate", "/dev/shm/ring", {"path": "/dev/shm/ring"}), ("write", NOTES, {"size": 5})
    assert faults(*rows) == []


def test_recovery_too() -> None:
    one = clean(atomic_rewrite())
    late = [c for c in candidates(one, calibration(None, one)) if c.crash]
    assert {c.fault.phase for c in late} == {"restart"}
    assert all(isinstance(c.fault, Full) and c.fault.point.operation is None for c in late)


def test_the_disk_is_filled_at_the_point_and_not_before_and_has_room_again_afterwards() -> None:
    disk = Disk()
    one = scene(disk)
    with pytest.raises(KeyError), Full(point=POINT, room=8192).inject(one):
        filling, refused = one.tampers
        assert (str(filling.rule), refused.after) == ("@2 delay(0s)", 0)
        assert disk.rooms == []
        assert filling.act is not None and refused.act is not None
        assert filling.act(Caller(short=False)) == (True, "")
        assert filling.act(Caller(short=True)) == (True, "refused")
        assert disk.rooms == [{"free_bytes": 8192}] * 2
        assert refused.act(Caller()) == (True, "refused")
        raise KeyError
    assert one.tampers == []
    assert disk.rooms[2:] == [{}]


def test_room_comes_back_at_the_first_refusal_where_it_is_freed() -> None:
    disk = Disk()
    one = scene(disk)
    with Full(point=POINT, what=ENTRIES, freed=True).inject(one):
        filling, refused = one.tampers
        assert filling.act is not None and refused.act is not None
        filling.act(Caller())
        refused.act(Caller())
    assert disk.rooms == [{"free_inodes": 0}, {}, {}]


def test_no_disk_of_its_own_cannot_be_filled() -> None:
    with pytest.raises(CannotInject), Full(point=POINT).inject(scene(Disk("landlock"))):
        pass


def test_it_fired_only_if_something_was_refused() -> None:
    fault = Full(point=POINT)
    assert fault.account(conducted((0, ""), hits=(1, 0)), 0).fired == 0
    assert fault.account(conducted((0, "refused"), (1, "refused"), hits=(1, 1)), 0).fired == 2
    assert fault.account(conducted(hits=(1, 0)), 0).fired == 0


@pytest.mark.parametrize(
    "fault", [Full(point=POINT), Full(point=POINT, what=ENTRIES, room=3, freed=True, phase="restart")]
)
def test_json(fault: Full) -> None:
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault


def test_text() -> None:
    assert str(Full(point=POINT)) == "the disk is full from write $CWD/notes.json @2 on until healed"
    assert str(Full(point=POINT, room=4096, freed=True)) == (
        "the disk is full but 4096 bytes from write $CWD/notes.json @2 on until the first refusal"
    )
    assert "for new entries" in str(Full(point=POINT, what=ENTRIES))
