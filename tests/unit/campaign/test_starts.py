"""Where trials begin: a re-run has something to lose, unless it makes the same again; what none breaks is named."""

from __future__ import annotations

from blackstart.campaign import choose
from blackstart.core.trace import Operation
from tests.unit.oracles.build import NOTES, calibration, clean, notes


def test_a_re_run_comes_first_unless_it_is_refused_or_makes_the_same_again() -> None:
    assert choose.starts(calibration()) == ("S1", "S0")
    assert choose.starts(calibration(chain=(clean(0),), refuses_rerun=True)) == ("S0",)
    assert choose.starts(calibration(is_service=True)) == ("S0", "S1")
    same = tuple(clean(k, files={NOTES: notes(1)}) for k in range(3))
    assert choose.starts(calibration(chain=same)) == ("S0", "S1")


def test_what_only_the_third_clean_run_changes_is_named() -> None:
    def step(call: str, path: str) -> Operation:
        return Operation(index=0, call=call, path=path, masked=path, kind="file")

    traces = [
        [step("write", "$CWD/1.seg")],
        [step("write", "$CWD/2.seg")],
        [step("write", "$CWD/3.seg"), step("unlink", "$CWD/1.seg"), step("unlink", "$CWD/log")],
    ]
    chain = tuple(clean(k, trace=tuple(trace)) for k, trace in enumerate(traces))
    roles = {f"$CWD/{k}.seg": "state" for k in (1, 2, 3)} | {"$CWD/log": "log"}
    found = choose.later_only(calibration(chain=chain, roles=roles), ("S1", "S0"))
    assert list(found) == ["unlink $CWD/1.seg"]
