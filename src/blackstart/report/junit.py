"""JUnit XML: one test case for each class of points of failure, so that a build server counts and names them.

A class whose trials showed a defect is a failure with the whole story; one that only a known gap or a note concerns
passes, with the words in its output; one that no trial could judge is skipped, with the reason. There is no standard:
this is the common core that build servers read (testsuites, testsuite, testcase, failure, skipped, system-out).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

from blackstart.report.model import CoveredPoint, Finding, Report
from blackstart.report.text import plain, shell_line

# A fault during recovery that does what the crash before it does alone is told with that crash.
_UNCONFIRMED = "no finding of its own: a failure here did not reproduce, or another fault does the same"
# What XML 1.0 cannot hold at all; `plain` has made visible all but the line breaks that are put between lines here.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> bytes:
    """The report as JUnit XML, UTF-8."""
    root = ElementTree.Element("testsuites", name="blackstart")
    findings = {finding.id: finding for finding in report.findings}
    kinds = sorted({point.kind for point in report.coverage})
    for kind in kinds:
        points = [point for point in report.coverage if point.kind == kind]
        _suite(root, kind, points, findings, report)
    _total(root, report)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _suite(
    root: ElementTree.Element, kind: str, points: list[CoveredPoint], findings: dict[str, Finding], report: Report
) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=f"blackstart.{_clean(kind)}")
    if report.started:
        suite.set("timestamp", _clean(report.started[:19]))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("command", shell_line(report.command)), ("seed", str(report.seed)), ("run", report.run)):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    used: Counter[str] = Counter()
    for point in points:
        name = _name(point)
        used[name] += 1  # what was cut or made visible may have been all that told two names apart
        unique = f"{name} ({used[name]})" if used[name] > 1 else name
        _case(suite, unique, point, [findings[name] for name in point.found if name in findings])
    _count(suite)


def _case(suite: ElementTree.Element, name: str, point: CoveredPoint, found: list[Finding]) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=f"blackstart.{_clean(point.kind)}", name=name)
    case.set("time", "0")
    defects = [finding for finding in found if finding.counts]
    others = [finding for finding in found if not finding.counts]
    if defects:
        said = "; ".join(f"{one.severity}: {one.consequence}" for one in defects)
        failure = ElementTree.SubElement(case, "failure", type=defects[0].consequence, message=_clean(said))
        failure.text = "\n\n".join("\n".join(_story(one)) for one in defects)
    elif not point.passed and not point.failed:
        why = "the fault did not fire" if not point.unknown else "no trial could be judged"
        ElementTree.SubElement(case, "skipped", message=why)
    counts = f"{point.passed} passed, {point.failed} failed, {point.unknown} unknown, {point.not_fired} not fired"
    unconfirmed = [_UNCONFIRMED] if point.failed and not found else []
    lines = [counts, *unconfirmed, *(_clean(f"{one.label}: {one.id} {one.known}".strip()) for one in others)]
    ElementTree.SubElement(case, "system-out").text = "\n".join(lines)


def _story(finding: Finding) -> Iterator[str]:
    yield _clean(finding.id)
    for label, lines in (
        ("fault", (finding.fault,)),
        ("where", (finding.where,)),
        ("evidence", finding.evidence),
        ("stack", finding.stack),
        ("advice", (finding.advice,)),
        ("replay", (finding.replay,)),
    ):
        yield from (f"{label}: {_clean(line)}" for line in lines if line)


def _name(point: CoveredPoint) -> str:
    """Every field that tells classes apart, in words."""
    what = f": {point.what}" if point.what else ""
    during = " during recovery" if point.phase == "restart" else ""
    where = " ".join(part for part in (point.call, point.path) if part) or "the program"
    return _clean(f"{where}{what}{during}")


def _count(suite: ElementTree.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("time", "0")


def _total(root: ElementTree.Element, report: Report) -> None:
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root.findall("testsuite"))))
    root.set("time", f"{report.elapsed_s:.3f}")


def _clean(text: str) -> str:
    return _NO_XML.sub("?", plain(text, 10_000))
