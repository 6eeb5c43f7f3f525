"""A trial's place, its timeline, and what changed between two runs."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.core.history import End, History, Injected, Life, Output, Run
from blackstart.core.trace import Operation
from blackstart.report.change import change_between
from blackstart.report.model import CoveredPoint, Report
from blackstart.report.points import Place, place_of
from blackstart.report.timeline import OUTPUTS_MAX, timeline_of
from tests.unit.report.samples import CRASHED, LOST, POLICY

POINT = {"call": "write", "path": "$CWD/a", "nth": 3}


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            {"kind": "errno", "faults": [{"fault": "errno", "point": POINT, "error": "EIO", "phase": "restart"}]},
            Place(kind="errno", call="write", path="$CWD/a", what="EIO", phase="restart"),
        ),
        ({"kind": "kill", "faults": [{"point": POINT}]}, Place(kind="kill", call="write", path="$CWD/a")),
        (
            {"kind": "file", "faults": [{"point": POINT}, {"fault": "file", "path": "b", "damage": "empty"}]},
            Place(kind="file", path="b", what="empty"),
        ),
        (
            {"kind": "power", "faults": [{"last": POINT, "model": "xfs"}]},
            Place(kind="power", call="write", path="$CWD/a", what="xfs"),
        ),
        ({"kind": "signal", "faults": [{"fault": "signal", "signal": "TERM"}]}, Place(kind="signal", what="TERM")),
        ({"kind": "null"}, Place(kind="null")),
        ({"kind": "odd", "faults": ["text"]}, Place(kind="odd")),
        ({}, Place(kind="")),
    ],
)  # fmt: skip
def test_the_class_of_a_trial_is_read_from_its_plan(plan: dict[str, object], expected: Place) -> None:
    assert place_of(plan) == expected


def test_a_trial_is_told_moment_by_moment() -> None:
    operation = Operation(index=4, call="write", at_s=0.2)
    history = History(
        start="S0",
        kind="errno",
        injected=(Injected(fault="write fails", kind="errno", fired=1, operation=operation),),
        runs=(
            Run(
                phase="run",
                end=End(how="exited", code=1, elapsed_s=0.5),
                outputs=(
                    Output(stream="stdout", data=b"hello\n", at_s=0.1),
                    Output(stream="stderr", data=b"\n", at_s=0.3),
                    Output(stream="stderr", data=b"caf\xe9", at_s=9.0),
                ),
            ),
            Run(phase="restart", end=End(how="deadline", elapsed_s=2.0)),
        ),
    )
    told = [(one.at_s, one.mark, one.run, one.text) for one in timeline_of(history, ["run"])]
    assert told == [
        (0.0, "start", "run", "run"),
        (0.1, "output", "run", "stdout: hello"),
        (0.2, "inject", "run", "write fails"),
        (0.5, "output", "run", "stderr: caf\udce9"),
        (0.5, "heal", "run", "write fails"),
        (0.5, "end", "run", "ends with exit status 1"),
        (0.5, "start", "restart", "restart"),
        (2.5, "end", "restart", "did not end in time"),
    ]


def test_a_service_is_healed_while_it_runs() -> None:
    life = Life(ready_s=0.1, fired_s=0.4, healed_s=0.9, again_s=1.0, stop_s=1.5)
    run = Run(phase="run", end=End(how="stopped", elapsed_s=2.0), life=life)
    history = History(start="S0", kind="limit", injected=(Injected(fault="f", kind="limit", fired=1),), runs=(run,))
    told = [(one.at_s, one.mark) for one in timeline_of(history, ["run"])]
    assert told == [(0.0, "start"), (0.4, "inject"), (0.9, "heal"), (2.0, "end")]
    assert timeline_of(history, ["run"])[-1].text == "stopped when it was told to"


def test_a_fault_that_did_not_fire_has_no_moment_and_outputs_are_bounded() -> None:
    outputs = tuple(Output(stream="stdout", data=b"%d" % n, at_s=0.0) for n in range(100))
    run = Run(phase="run", end=End(how="exited"), outputs=outputs)
    history = History(start="S0", kind="kill", injected=(Injected(fault="f", kind="kill"),), runs=(run,))
    marks = [one.mark for one in timeline_of(history, ["run"])]
    assert "inject" not in marks and marks.count("output") == OUTPUTS_MAX


def test_what_is_no_longer_found_is_fixed_only_where_its_place_was_tried_again() -> None:
    lost = msgspec.structs.replace(LOST, plan={"kind": "kill", "faults": [{"point": POINT}]})
    old = Report(command=("x",), run="4", started="then", findings=(lost, CRASHED, POLICY))
    point = CoveredPoint(kind="kill", call="write", path="$CWD/a", passed=1)
    new = Report(command=("x",), findings=(msgspec.structs.replace(LOST, id="lost-new", fingerprint="1-new"),))
    change = change_between(old, msgspec.structs.replace(new, coverage=(point,)))
    assert (change.against, change.new, change.again) == ("4", ("lost-new",), ())
    assert [(one.id, one.tried) for one in change.gone] == [(lost.id, True), (CRASHED.id, False)]
    unsure = msgspec.structs.replace(point, passed=0, unknown=3)
    change = change_between(old, msgspec.structs.replace(new, coverage=(unsure,), findings=(CRASHED,)))
    assert change.again == (CRASHED.id,) and [one.tried for one in change.gone] == [False]
