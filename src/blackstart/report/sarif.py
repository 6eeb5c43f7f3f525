"""SARIF 2.1.0: findings at the lines of code in which the failing call was made, for code hosts and editors.

One rule for each consequence; one result for each finding. The location is the innermost frame that lies in the working
directory, because that is the code of whoever reads; other frames are the stack. A finding without a known frame has
the file that it concerns as its place, or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from blackstart.core.frames import Frame, read_frame
from blackstart.report.model import Finding, Report, Severity
from blackstart.report.text import plain, shell_line

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# security-severity is left out: these are no attacks.
_LEVEL: Mapping[Severity, str] = {"critical": "error", "major": "error", "minor": "warning", "low": "note"}
_MEANING = {
    "lost": "Data that was acknowledged, or had been there, is gone",
    "corrupt": "A file of the program's state is no longer one that it can leave or read",
    "stuck": "Something left behind keeps it from starting again",
    "silent": "A failure that nobody hears of",
    "hung": "It waits without a limit",
    "spinning": "It is busy without getting anywhere",
    "dead": "It runs on and does nothing any more",
    "crashed": "It ends by a signal where it could have said what is wrong",
    "leaked": "Something is left behind and piles up",
    "unclean": "An error reaches the user as a traceback, or what was taken is not released",
}


def render(report: Report) -> bytes:
    """The report as SARIF, UTF-8."""
    consequences = sorted({finding.consequence for finding in report.findings})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "blackstart",
                **({"semanticVersion": report.version} if report.version else {}),
                "rules": [_rule(consequence) for consequence in consequences],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"CWD": {"description": {"text": "Where the program was started."}}},
        "invocations": [
            {
                "executionSuccessful": report.exit_status in (0, 1),
                "exitCode": report.exit_status,
                "commandLine": plain(shell_line(report.command), 100_000),
                **({"startTimeUtc": _utc(report.started)} if report.started else {}),
            }
        ],
        "results": [_result(finding, consequences) for finding in report.findings],
    }
    return (
        msgspec.json.format(msgspec.json.encode({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}), indent=2)
        + b"\n"
    )


def _rule(consequence: str) -> dict[str, Any]:
    return {
        "id": consequence,
        "shortDescription": {"text": _MEANING.get(consequence, consequence)},
        "defaultConfiguration": {"level": "error"},
    }


def _result(finding: Finding, consequences: Sequence[str]) -> dict[str, Any]:
    frames = [found for found in map(read_frame, finding.stack) if found]
    told = [finding.consequence + " by " + finding.fault, *finding.evidence, finding.advice, finding.replay]
    result: dict[str, Any] = {
        "ruleId": finding.consequence,
        "ruleIndex": consequences.index(finding.consequence),
        "level": _LEVEL[finding.severity] if finding.counts else "note",
        "message": {"text": "\n".join(plain(line) for line in told if line)},
        "partialFingerprints": {"blackstart/v1": plain(finding.fingerprint)},
        "properties": {
            "id": plain(finding.id),
            "label": finding.label,
            "severity": finding.severity,
            "kind": plain(finding.kind),
        },
    }
    locations = _locations(finding, frames)
    if locations:
        result["locations"] = locations
    if frames:
        stacked = [{"location": _frame(frame)} for frame in frames]
        result["stacks"] = [{"message": {"text": "where the fault fell"}, "frames": stacked}]
    if finding.known:
        result["suppressions"] = [{"kind": "external", "justification": plain(finding.known)}]
    return result


def _locations(finding: Finding, frames: Sequence[Frame]) -> list[dict[str, Any]]:
    own = [frame for frame in frames if frame.file.startswith("$CWD/")]
    if own or frames:
        return [_frame((own or list(frames))[0])]
    return [{"physicalLocation": _place(path)} for path in finding.paths[:1]]


def _frame(frame: Frame) -> dict[str, Any]:
    place = _place(frame.file)
    if frame.line:
        place["region"] = {"startLine": frame.line}
    named = [{"name": plain(frame.function), "kind": "function"}] if frame.function else []
    return {"physicalLocation": place, **({"logicalLocations": named} if named else {})}


def _place(path: str) -> dict[str, Any]:
    """An artefact by its path: relative to the working directory where it lies there."""
    raw = path.encode("utf-8", "surrogateescape")
    if path.startswith("$CWD/"):
        return {"artifactLocation": {"uri": quote(raw.removeprefix(b"$CWD/")), "uriBaseId": "CWD"}}
    return {"artifactLocation": {"uri": quote(raw)}}


def _utc(started: str) -> str:
    return started.replace("+00:00", "Z")
