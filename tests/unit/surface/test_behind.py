"""When a clean run says that acknowledgements come before the write of their effect. covers: L-2"""

from __future__ import annotations

from blackstart.core.history import Act
from blackstart.core.trace import Operation
from blackstart.surface import write_behind

ROLES = {"$CWD/data": "state", "$CWD/log": "log", "$CWD/wal.*": "scratch"}


def trace(*moments: tuple[float, str]) -> list[Operation]:
    return [
        Operation(index=n, call="write", kind="file", path=f"/w/{name}", masked=f"$CWD/{name}", at_s=at)
        for n, (at, name) in enumerate(moments)
    ]


def acts(*moments: float, how: str = "ok") -> list[Act]:
    return [Act(how=how, id=str(at), at_s=at) for at in moments]


def test_a_write_before_each_acknowledgement() -> None:
    assert write_behind(trace((0.9, "data"), (1.9, "data")), acts(1.0, 2.0), ROLES) == ""


def test_one_write_after_all_of_them() -> None:
    said = write_behind(trace((5.0, "data")), acts(1.0, 2.0), ROLES)
    assert "2 of 2 acknowledgements" in said and "4.0 s later" in said


def test_a_log_is_no_effect_and_a_refusal_no_acknowledgement() -> None:
    assert write_behind(trace((0.9, "log"), (1.9, "log"), (3.0, "data")), acts(1.0, 2.0), ROLES)
    assert write_behind(trace((5.0, "data")), acts(1.0, how="fail"), ROLES) == ""


def test_each_write_just_after_its_acknowledgement_comes_before_the_next_one() -> None:
    saved = trace((0.1, "data"), (1.02, "data"), (2.01, "data"))
    said = write_behind(saved, acts(1.0, 2.0), ROLES, begin_s=0.5, stop_s=3.0)
    assert "2 of 2 acknowledgements" in said and "0.020 s later" in said
    on_the_way_out = trace((0.9, "data"), (1.9, "data"), (3.1, "data"))
    assert write_behind(on_the_way_out, acts(1.0, 2.0), ROLES, begin_s=0.5, stop_s=3.0) == ""
    tidying = trace((0.9, "data"), (1.9, "data"), (2.5, "data"))
    assert write_behind(tidying, acts(1.0, 2.0), ROLES, begin_s=0.5, stop_s=3.0) == ""


def test_a_segment_that_is_removed_later_holds_the_effect_until_then() -> None:
    rotated = trace((0.9, "wal.*"), (1.9, "wal.*"), (2.9, "wal.*"), (3.1, "data"))
    assert write_behind(rotated, acts(1.0, 2.0, 3.0), ROLES, begin_s=0.5, stop_s=5.0) == ""
    gone = [
        Operation(index=10 + n, call="unlink", kind="file", path="/w/wal.*", masked="$CWD/wal.*", at_s=at)
        for n, at in enumerate((0.95, 1.95, 2.95))
    ]
    on_its_way = sorted([*rotated, *gone], key=lambda operation: operation.at_s)
    assert "3 of 3" in write_behind(on_its_way, acts(1.0, 2.0, 3.0), ROLES, begin_s=0.5, stop_s=5.0)
