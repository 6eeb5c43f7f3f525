"""The order of trials: nothing lost, small ranks and the telling start first, and no cause twice before others once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.campaign import choose
from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.clock import ManualClock
from blackstart.faults import KINDS, Candidate
from blackstart.faults.file import Damage
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point
from tests.unit.faults.build import atomic_rewrite, calibration, clean

STARTS = ("S1", "S0")


def candidate(cause: str, rank: int = 0, start: str = "S1", number: int = 1, kind: int = 0) -> Candidate:
    fault = Kill(point=Point(call="write", path=cause, nth=number))
    return Candidate(fault=fault, start=start, rank=(rank, kind), cause=(cause,), path=cause)


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcd"),
        st.integers(0, 9),
        st.sampled_from(STARTS),
        st.integers(1, 50),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(CANDIDATES)
def test_nothing_is_lost_and_nothing_is_made_up(found: list[Candidate]) -> None:
    ordered = choose.order(found, STARTS)
    assert sorted(map(str, ordered)) == sorted(map(str, found))


@given(CANDIDATES)
def test_the_order_is_the_same_each_time(found: list[Candidate]) -> None:
    assert choose.order(found, STARTS) == choose.order(list(found), STARTS)


@given(CANDIDATES)
def test_within_a_cause_the_telling_start_and_the_small_rank_come_first(found: list[Candidate]) -> None:
    ordered = choose.order(found, STARTS)
    for cause in "abcd":
        of_cause = [c for c in ordered if c.cause == (cause,) and c.start == "S1"]
        assert [c.rank for c in of_cause] == sorted(c.rank for c in of_cause)


@given(CANDIDATES)
def test_every_cause_of_one_rank_is_tried_once_before_any_is_tried_twice(found: list[Candidate]) -> None:
    same = [candidate(c.cause[0], 3, "S1", number) for number, c in enumerate(found)]
    ordered = [c.cause for c in choose.order(same, STARTS)]
    causes = set(ordered)
    assert set(ordered[: len(causes)]) == causes


def test_a_cause_that_repeats_itself_falls_behind_others() -> None:
    found = [candidate("loud", 0, number=n) for n in range(1, 9)] + [candidate("quiet", 5)]
    ordered = [c.cause[0] for c in choose.order(found, STARTS)]
    assert ordered.index("quiet") < 4


def test_files_that_differ_in_their_numbers_are_one_cause() -> None:
    jobs = [candidate(f"$CWD/jobs/{n}.tmp", 0) for n in range(8)]
    ordered = [c.path for c in choose.order([*jobs, candidate("$CWD/index", 3)], STARTS)]
    assert ordered.index("$CWD/index") == 2


def test_a_re_run_has_something_to_lose_and_comes_first() -> None:
    ordered = choose.order([candidate("a", start="S0"), candidate("a", start="S1")], STARTS)
    assert [c.start for c in ordered] == ["S1", "S0"]


def test_what_stands_there_only_at_the_re_run_of_a_service_is_damaged_as_early_as_if_it_stood_there_at_first() -> None:
    def damage(path: str, start: str) -> Candidate:
        return Candidate(fault=Damage(path=path, damage="empty"), start=start, rank=(1, 3), cause=("file", path))

    service = ("S0", "S1")
    found = [damage("config", start) for start in service] + [damage("state", "S1")]
    found += [candidate("write", 2, "S0"), candidate("late write", 1, "S1")]
    ordered = [(c.cause[-1], c.start) for c in choose.order(found, service)]
    assert ordered[:3] == [("config", "S0"), ("state", "S1"), ("write", "S0")]
    assert set(ordered[3:]) == {("late write", "S1"), ("config", "S1")}


def test_only_the_kinds_that_were_asked_for() -> None:
    one = calibration(None, clean(atomic_rewrite()))
    for kind in KINDS:
        kinds = {c.fault.kind for c in choose.candidates(one, (kind,), ("S1",))}
        assert kinds <= {kind}
    everything = choose.candidates(one, tuple(KINDS), ("S1",))
    assert len(everything) == sum(len(choose.candidates(one, (kind,), ("S1",))) for kind in KINDS)


def test_only_the_start_states_that_were_asked_for() -> None:
    both = calibration(None, clean(atomic_rewrite(), start="S0"), clean(atomic_rewrite(), start="S1"))
    assert {c.start for c in choose.candidates(both, ("kill",), ("S1",))} == {"S1"}
    assert choose.candidates(Calibration(), ("kill",), ()) == []


def test_every_candidate_says_what_the_report_shows() -> None:
    one = calibration(None, clean(atomic_rewrite()))
    for found in choose.candidates(one, tuple(KINDS), ("S1",)):
        assert str(found.fault)
        assert found.places >= 1
        assert found.start == "S1"
        assert found.rank
        assert found.cause[0].startswith(found.fault.kind)


def test_a_kind_whose_points_take_long_to_work_out_is_cut_short_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()

    def slow(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
        for number in range(100):
            clock.sleep(1.0)
            yield candidate("slow", number)

    monkeypatch.setitem(choose.KINDS, "power", slow)
    one, notes = calibration(None, clean(atomic_rewrite())), list[str]()
    every = choose.candidates(one, ("kill",), ("S1",))
    found = choose.candidates(one, ("power", "kill"), ("S1",), limit_s=5.0, clock=clock, notes=notes)
    assert found[6:] == every, "the others are not cut"
    assert len(notes) == 1 and notes[0].startswith("power: of the run from S1 only the 6 most telling points")
