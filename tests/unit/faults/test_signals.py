"""Signals: which moments are tried, and when one counts as sent. covers: L-2, M-6"""

from __future__ import annotations

import signal

import msgspec

from blackstart.core.history import EXITED, STOPPED, End, Life
from blackstart.faults.point import Point
from blackstart.faults.signals import Signal, candidates
from blackstart.gate import Firing
from blackstart.report.points import place_of
from blackstart.targets import Conducted

from .build import NOTES, TEMPORARY, atomic_rewrite, calibration, clean, trace

OPERATION = trace(("write", NOTES, {"size": 9}))[0]
POINT = Point(call="write", path=NOTES, nth=1, operation=OPERATION)
TERM, INT = int(signal.SIGTERM), int(signal.SIGINT)


def moments(found: list[Signal]) -> dict[str, str]:
    return {fault.moment: str(fault.point) if fault.point else "" for fault in found}


def test_a_job_at_its_first_file_in_its_middle_and_at_its_last_change() -> None:
    found = [candidate.fault for candidate in candidates(clean(atomic_rewrite()), calibration())]
    assert all(isinstance(fault, Signal) for fault in found)
    signals = [fault for fault in found if isinstance(fault, Signal)]
    assert {fault.name for fault in signals} == {"TERM", "INT", "HUP"} and len(signals) == 9
    assert moments(signals) == {
        "start": "openat $CWD/app.ini @1", "work": f"write {TEMPORARY} @2", "stop": f"rename {TEMPORARY} @1",
    }  # fmt: skip


def test_a_service_on_its_way_out_needs_no_call() -> None:
    rows = trace(
        ("openat", NOTES, {"at_s": 0.1}),
        ("write", "socket:", {"kind": "socket", "at_s": 0.5}),
        ("write", "socket:", {"kind": "socket", "at_s": 0.9}),
        ("write", NOTES, {"at_s": 2.0}),
    )
    run = msgspec.structs.replace(clean(rows), life=Life(ready_s=0.2, stop_s=1.0))
    found = [candidate.fault for candidate in candidates(run, calibration()) if isinstance(candidate.fault, Signal)]
    assert moments(found) == {"start": f"openat {NOTES} @1", "work": "write socket: @2", "stop": ""}


def test_it_has_fired_once_it_was_sent_to_a_living_process() -> None:
    firing = Firing(tamper_index=0, operation=OPERATION, verb="sleep", matched=True)
    fault = Signal(name="INT", moment="work", point=POINT)
    end = End(how=EXITED)
    sent = Conducted(end=end, outputs=(), hits=(1,), firings=(firing,), signals=(INT, INT))
    assert fault.account(sent, 0).fired == 1
    assert fault.account(msgspec.structs.replace(sent, signals=()), 0).fired == 0
    assert fault.account(msgspec.structs.replace(sent, firings=(), hits=(0,)), 0).fired == 0


def test_the_order_to_stop_is_not_taken_for_the_fault() -> None:
    stopped = Conducted(end=End(how=STOPPED), outputs=(), signals=(TERM,), life=Life(stop_s=1.0))
    assert Signal(name="TERM", moment="stop").account(stopped, 0).fired == 0
    again = msgspec.structs.replace(stopped, signals=(TERM, TERM))
    assert Signal(name="TERM", moment="stop").account(again, 0).fired == 1
    assert Signal(name="HUP", moment="stop").account(again, 0).fired == 0


def test_it_is_read_back_from_json() -> None:
    fault = Signal(name="HUP", moment="work", point=POINT)
    assert msgspec.convert(msgspec.to_builtins(fault), Signal) == fault
    assert str(fault) == f"HUP twice in mid-work, first in write {NOTES} @1"


def test_a_report_classes_it_by_the_signal_and_not_by_the_moment() -> None:
    plan = {"kind": "signal", "faults": [msgspec.to_builtins(Signal(name="TERM", moment="work", point=POINT))]}
    assert place_of(plan).what == "TERM"
