"""Failing trials grouped by cause: what failed, under which kind of fault, on which file, in which function.

Severity follows what happened to the state, not the exception. Findings labelled policy or note are low and do not fail
a run.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from blackstart.core.trace import Operation
from blackstart.core.verdict import DEFECT, FAILED, NOTE, POLICY, Verdict
from blackstart.findings.advice import advice
from blackstart.findings.fingerprint import context, fingerprint

CRITICAL, MAJOR, MINOR, LOW = "critical", "major", "minor", "low"
SEVERITIES = (CRITICAL, MAJOR, MINOR, LOW)
_BY_CONSEQUENCE = {
    "lost": CRITICAL, "corrupt": CRITICAL, "stuck": MAJOR, "hung": MAJOR, "spinning": MAJOR, "dead": MAJOR,
    "silent": MAJOR, "crashed": MINOR, "leaked": MINOR, "unclean": MINOR,
}  # fmt: skip
_LABELS = (DEFECT, POLICY, NOTE)


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One failing verdict of one trial.

    trial: its id; kind and fault of the plan; operation: the operation on which the fault fired; masked: its masked
    path; restarts: whether the program started again afterwards (None: not known).
    """

    trial: str
    verdict: Verdict
    kind: str
    fault: str
    operation: Operation | None = None
    masked: str = ""
    restarts: bool | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The failing trials of one cause.

    where: call, masked path and function of the fault; paths: the files concerned; faults: all faults that led here;
    trials: their trials, the plainest first (to be reproduced and replayed).
    """

    fingerprint: str
    severity: str
    label: str
    consequence: str
    oracle: str
    kind: str
    fault: str
    where: str = ""
    paths: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    advice: str = ""
    faults: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()


def severity(consequence: str, label: str = DEFECT, *, restarts: bool | None = None) -> str:
    """critical, major, minor or low; a crash that does not start again is major."""
    if label != DEFECT:
        return LOW
    if consequence == "crashed" and restarts is False:
        return MAJOR
    return _BY_CONSEQUENCE[consequence]


def group(failures: Iterable[Failure]) -> tuple[Finding, ...]:
    """Findings, the most severe first, then those that most trials show."""
    causes: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        if failure.verdict.outcome == FAILED:
            causes.setdefault(_cause(failure), []).append(failure)
    found = [_finding(cause, members) for cause, members in causes.items()]
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), -len(one.trials), one.fingerprint)))


def _cause(failure: Failure) -> tuple[str, ...]:
    """Consequence, label, kind of fault, files concerned, and the function (or the call, where no frame is known)."""
    verdict, operation = failure.verdict, failure.operation
    if verdict.label == NOTE:  # an exception and its function, whatever the fault
        return (verdict.consequence, verdict.label, "", verdict.evidence[0].split(":")[0] if verdict.evidence else "")
    paths = ",".join(sorted(verdict.paths)) or failure.masked
    function = context(operation.site) if operation else ""
    call = "" if function or failure.kind == "kill" or operation is None else operation.call
    return (verdict.consequence, verdict.label, failure.kind, paths, function or call)


def _finding(cause: tuple[str, ...], members: list[Failure]) -> Finding:
    first = members[0]
    verdict = first.verdict
    restarts = False if any(one.restarts is False for one in members) else first.restarts
    operation = first.operation
    call = operation.call if operation else ""
    return Finding(
        fingerprint=fingerprint(*cause),
        severity=severity(verdict.consequence, verdict.label, restarts=restarts),
        label=verdict.label,
        consequence=verdict.consequence,
        oracle=verdict.oracle,
        kind=first.kind,
        fault=first.fault,
        where=_where(first),
        paths=tuple(dict.fromkeys(path for one in members for path in one.verdict.paths)),
        evidence=verdict.evidence,
        advice=advice(verdict.consequence, first.kind, call, verdict.label),
        faults=tuple(dict.fromkeys(one.fault for one in members)),
        trials=tuple(dict.fromkeys(one.trial for one in members)),
    )


def _where(failure: Failure) -> str:
    if failure.operation is None:
        return failure.masked
    function = context(failure.operation.site)
    parts = (failure.operation.call, failure.masked or failure.operation.masked or failure.operation.path)
    return " ".join(part for part in parts if part) + (f" in {function}" if function else "")
