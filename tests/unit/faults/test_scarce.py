"""Little memory or processor for the whole tree: only what this machine can do, and what a job can bear."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.faults import AnyFault
from blackstart.faults.scarce import CPU, PRESSURE, RESIDENT, Scarce, candidates

from .build import NOTES, calibration, clean, trace
from .scenes import conducted

MEGABYTE = 1 << 20
WRITES = trace(("openat", NOTES, {"flags": 0o101}), ("write", NOTES, {"size": 100}))


def tried(*, is_service: bool = False, groups: tuple[str, ...] = ("memory", "cpu"), **more: object) -> list[Scarce]:
    one = msgspec.structs.replace(clean(WRITES), **more)  # type: ignore[arg-type]
    base = msgspec.structs.replace(calibration(None, one), is_service=is_service, groups=groups)
    return [c.fault for c in candidates(one, base) if isinstance(c.fault, Scarce)]


def test_a_service_meets_all_of_them() -> None:
    assert [one.what for one in tried(is_service=True) if one.phase == "run"] == [RESIDENT, PRESSURE, CPU]
    assert [one.what for one in tried(is_service=True) if one.phase == "restart"] == [CPU]


def test_nothing_where_no_group_can_be_made() -> None:
    assert tried(is_service=True, groups=()) == []


def test_a_job_is_limited_where_its_work_takes_memory_and_its_files_little() -> None:
    grows = [one for one in tried(resident_bytes=(MEGABYTE, 11 * MEGABYTE)) if one.what == RESIDENT]
    assert [(one.most, str(one.point)) for one in grows] == [(4 * MEGABYTE, f"openat {NOTES} @1")]
    assert RESIDENT not in [one.what for one in tried(resident_bytes=(MEGABYTE, 2 * MEGABYTE))]
    large = msgspec.structs.replace(WRITES[1], size=9 * MEGABYTE)
    assert RESIDENT not in [one.what for one in tried(resident_bytes=(1, 11 * MEGABYTE), trace=(WRITES[0], large))]


def test_a_job_is_not_slowed_down() -> None:
    assert tried() == []


@pytest.mark.parametrize(("what", "count"), [(RESIDENT, "killed"), (PRESSURE, "waited"), (CPU, "throttled")])
def test_it_fired_only_if_the_kernel_counted_so(what: str, count: str) -> None:
    fault = Scarce(what=what, most=7, phase="restart")
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert " 7 " in str(fault) and str(fault).endswith(" during recovery")
    assert fault.account(conducted(), 0).fired == 0
    other = {"killed": 0, "met": 5, "waited": 0, "throttled": 0}
    assert fault.account(msgspec.structs.replace(conducted(), group=other), 0).fired == 0  # enough could be reclaimed
    assert fault.account(msgspec.structs.replace(conducted(), group={**other, count: 3}), 0).fired == 3
