"""Findings folded for people: those that do the same harm in one place, and ask for one repair, stand together.

One careless write is found by a kill, a full disk, a signal and a failing call. Each of these stays a finding of its
own, with a fingerprint and a replay command, since one may be mended and another not; but ten blocks of the same words
hide what is worth reading.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from blackstart.report.model import Finding


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """first: the finding to be shown in full; others: those that say the same, in their order."""

    first: Finding
    others: tuple[Finding, ...] = ()


def folded(findings: Iterable[Finding]) -> list[Fold]:
    """The findings in their order, each with the later ones that say the same."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(_key(finding), []).append(finding)
    return [Fold(first=first, others=tuple(others)) for first, *others in groups.values()]


def _key(finding: Finding) -> tuple[object, ...]:
    """What makes two findings alike; one that names no file is like no other."""
    if not finding.paths:
        return (finding.id,)
    directories = frozenset(path.rpartition("/")[0] for path in finding.paths)
    return (finding.severity, finding.label, finding.consequence, finding.advice, directories)
