"""What changed between two runs of one command: new defects, those seen again, those that have gone.

A defect that is no longer found counts as fixed only where the later run tried its place again and could judge it.
"""

from __future__ import annotations

from blackstart.report.model import Change, Finding, Gone, Report
from blackstart.report.points import Place, place_of


def change_between(old: Report, new: Report) -> Change:
    """The later report against the earlier one; policies and notes are left out."""
    before, after = _defects(old), _defects(new)
    tried = places_tried(new)
    return Change(
        against=old.run,
        started=old.started,
        new=tuple(one.id for mark, one in after.items() if mark not in before),
        again=tuple(one.id for mark, one in after.items() if mark in before),
        gone=tuple(gone(one, tried) for mark, one in before.items() if mark not in after),
    )


def places_tried(report: Report) -> frozenset[Place]:
    """The classes of points of failure that were tried with a verdict, without the variant of the fault."""
    return frozenset(
        Place(kind=one.kind, call=one.call, path=one.path) for one in report.coverage if one.passed or one.failed
    )


def gone(finding: Finding, tried: frozenset[Place]) -> Gone:
    """The entry for a finding that is no longer there."""
    place = place_of(finding.plan)
    return Gone(
        id=finding.id,
        fingerprint=finding.fingerprint,
        what=f"{finding.consequence} by {finding.fault}",
        tried=Place(kind=place.kind, call=place.call, path=place.path) in tried,
    )


def _defects(report: Report) -> dict[str, Finding]:
    return {finding.fingerprint: finding for finding in report.findings if finding.label == "defect"}
