"""When a clean run says that acknowledgements come before the write of their effect. covers: L-2"""

from __future__ import annotations

from blackstart.core.history import Act
from blackstart.core.trace import Operation
from blackstart.surface import write_behind

ROLES = {"$CWD/data": "state", "$CWD/log": "log"}


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
