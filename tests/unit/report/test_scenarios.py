"""A report says of every scenario what the run showed, and if nothing, why."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.catalogue import built_in
from blackstart.catalogue.scenario import Evidence, Scenario
from blackstart.report.model import CoveredPoint, Cut, Report, Surface, SurfaceFile, TrialsSummary
from blackstart.report.scenarios import with_scenarios
from tests.unit.report.samples import LOST, POLICY


def scenario(kind: str = "kill", **more: object) -> Scenario:
    given = {"id": "s", "title": "t", "tier": 1, "applies_to": (), "impact": "i", "recovery": "r", "oracles": ()}
    evidence = (Evidence(kind=kind),) if kind else ()
    return Scenario(**{**given, "evidence": evidence, **more})  # type: ignore[arg-type]


def report(*points: CoveredPoint, **more: object) -> Report:
    return Report(command=("x",), coverage=points, **more)  # type: ignore[arg-type]


KILLED = CoveredPoint(kind="kill", path="a", passed=2)


@pytest.mark.parametrize(
    ("points", "state", "counts"),
    [
        ([KILLED], "passed", (2, 0, 0)),
        ([KILLED, msgspec.structs.replace(KILLED, failed=3, found=(LOST.id,))], "failed", (4, 3, 0)),
        ([msgspec.structs.replace(KILLED, failed=1, found=(POLICY.id,))], "passed", (2, 1, 0)),
        ([msgspec.structs.replace(KILLED, passed=0, unknown=2)], "unknown", (0, 0, 2)),
        ([msgspec.structs.replace(KILLED, passed=0, failed=2)], "unknown", (0, 2, 0)),
    ],
)
def test_the_state_of_a_scenario(points: list[CoveredPoint], state: str, counts: tuple[int, ...]) -> None:
    [one] = with_scenarios(report(*points, findings=(LOST, POLICY)), [scenario()], ("kill",)).scenarios
    assert (one.state, (one.passed, one.failed, one.unknown)) == (state, counts)
    assert one.found == ((LOST.id,) if state == "failed" else ()) and not one.why


@pytest.mark.parametrize(
    ("given", "kinds", "points", "why"),
    [
        (scenario(""), ("kill",), (), "a run has no fault for it"),
        (scenario("weather"), ("kill",), (), "a run has no fault for it"),
        (scenario("db"), ("kill",), (), "kind db was not asked for"),
        (scenario("db"), ("kill", "db"), (), "the program has no place for it"),
        (scenario(), ("kill",), (CoveredPoint(kind="kill", not_fired=1),), "its faults did not reach the program"),
    ],
)
def test_why_a_scenario_was_not_tried(
    given: Scenario, kinds: tuple[str, ...], points: tuple[CoveredPoint, ...], why: str
) -> None:
    [one] = with_scenarios(report(*points), [given], kinds).scenarios
    assert (one.state, one.why) == ("not tried", why)


def test_what_the_budget_cut_may_have_been_the_place() -> None:
    cut = TrialsSummary(cut=(Cut(count=3, why="the budget was spent"),))
    [one] = with_scenarios(report(trials=cut), [scenario("db")], ("db",)).scenarios
    assert "budget" in one.why


def test_a_finding_names_its_scenarios_by_role_and_database() -> None:
    fault = {"fault": "file", "path": "d", "damage": "truncated"}
    found = msgspec.structs.replace(LOST, plan={"kind": "file", "faults": [fault]})
    surface = Surface(files=(SurfaceFile(path="d", role="state"),), databases=("d",))
    [one] = with_scenarios(report(findings=(found,), surface=surface), built_in(), ("file",)).findings
    assert one.scenarios == ("file.truncated", "db.truncated")
