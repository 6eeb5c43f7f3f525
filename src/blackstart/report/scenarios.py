"""Which scenarios of the catalogue a run says something about, and why it says nothing about the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from blackstart.catalogue import Scenario, Trial, is_evidence
from blackstart.core.options import KINDS
from blackstart.report.model import CoveredPoint, Finding, Report, ScenarioResult
from blackstart.report.points import place_of


def with_scenarios(report: Report, scenarios: Sequence[Scenario], kinds: Collection[str]) -> Report:
    """The report with its findings and its coverage joined to the scenarios; kinds: those that were asked for."""
    databases = report.surface.databases
    roles = {file.path: file.role for file in report.surface.files}
    defects = {finding.id for finding in report.findings if finding.label == "defect"}
    results = tuple(
        _result(one, [p for p in report.coverage if is_evidence(one, _of_point(p, databases))], defects, kinds, report)
        for one in scenarios
    )
    findings = tuple(
        msgspec.structs.replace(finding, scenarios=_names(finding, scenarios, roles, databases))
        for finding in report.findings
    )
    return msgspec.structs.replace(report, scenarios=results, findings=findings)


def _result(
    scenario: Scenario, points: Sequence[CoveredPoint], defects: Collection[str], kinds: Collection[str], report: Report
) -> ScenarioResult:
    passed, failed = sum(point.passed for point in points), sum(point.failed for point in points)
    found = tuple(dict.fromkeys(name for point in points for name in point.found if name in defects))
    why = ""
    if found:
        state = "failed"
    elif passed:
        state = "passed"
    elif any(point.unknown or point.failed for point in points):
        state = "unknown"
    else:
        state, why = "not tried", _reason(scenario, points, kinds, report)
    return ScenarioResult(
        id=scenario.id,
        title=scenario.title,
        tier=scenario.tier,
        recovery=scenario.recovery,
        state=state,  # type: ignore[arg-type]
        passed=passed,
        failed=failed,
        unknown=sum(point.unknown for point in points),
        found=found,
        why=why,
    )


def _reason(scenario: Scenario, points: Sequence[CoveredPoint], kinds: Collection[str], report: Report) -> str:
    if points:
        return "its faults did not reach the program"
    possible = [kind for kind in scenario.kinds if kind in KINDS]
    if not possible:
        return "a run has no fault for it"
    if not set(possible) & set(kinds):
        return f"kind {' or '.join(possible)} was not asked for"
    if report.trials.cut:
        return "no place for it was found among the trials that the budget allowed"
    return "the program has no place for it"


def _of_point(point: CoveredPoint, databases: Collection[str]) -> Trial:
    return Trial(
        kind=point.kind,
        what=point.what,
        call=point.call,
        role=point.role,
        phase=point.phase,
        is_database=point.path in databases,
    )


def _names(
    finding: Finding, scenarios: Iterable[Scenario], roles: dict[str, str], databases: Collection[str]
) -> tuple[str, ...]:
    place = place_of(finding.plan)
    trial = Trial(
        kind=place.kind,
        what=place.what,
        call=place.call,
        role=roles.get(place.path, ""),
        phase=place.phase,
        is_database=place.path in databases,
    )
    return tuple(one.id for one in scenarios if is_evidence(one, trial))
