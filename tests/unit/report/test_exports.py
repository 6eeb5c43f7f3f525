"""JUnit, SARIF and Markdown: what machines and code hosts read is valid, whole and harmless."""

from __future__ import annotations

import json as standard
import re
from collections.abc import Callable
from xml.etree import ElementTree

import msgspec
import pytest
from junitparser import Failure, JUnitXml, Skipped

from blackstart.report import junit, markdown, sarif
from blackstart.report.model import CoveredPoint, Report
from tests.unit.report.samples import FOLDED, FULL, HOSTILE, LOST, PLANNED, QUIET, UNDECIDED


def test_junit_has_one_case_for_each_class_of_points() -> None:
    read = JUnitXml.fromroot(ElementTree.fromstring(junit.render(FULL)))
    cases = {f"{case.classname} {case.name}": case for suite in read for case in suite}
    assert len(cases) == len(FULL.coverage) == read.tests
    assert (read.failures, read.errors, read.skipped) == (2, 0, 2)
    lost = cases["blackstart.kill write $CWD/notes.json"]
    [failure] = [one for one in lost.result if isinstance(one, Failure)]
    assert failure.type == "lost" and "replay: blackstart replay lost-4f3a91bc" in failure.text
    assert "policy: lost-aa00aa00" in lost.system_out
    [skipped] = cases["blackstart.errno write $CWD/notes.json: EIO"].result
    assert isinstance(skipped, Skipped) and skipped.message == "no trial could be judged"
    assert [one.message for one in cases["blackstart.kill write $CWD/notes.json during recovery"].result] == [
        "the fault did not fire"
    ]
    assert cases["blackstart.signal the program: TERM"].result == []


def test_a_failure_that_did_not_reproduce_and_a_known_gap_fail_no_case() -> None:
    known = msgspec.structs.replace(LOST, known="accepted")
    report = msgspec.structs.replace(FULL, findings=(known,))
    read = JUnitXml.fromroot(ElementTree.fromstring(junit.render(report)))
    assert read.failures == 0
    text = junit.render(report)
    assert b"a failure here did not reproduce, or another" in text and b"lost-4f3a91bc accepted" in text


def test_names_of_cases_are_unique_even_where_what_differs_cannot_be_shown() -> None:
    long = "x" * 20_000
    points = tuple(CoveredPoint(kind="kill", path=long + end, passed=1) for end in "ab")
    root = ElementTree.fromstring(junit.render(msgspec.structs.replace(FULL, coverage=points)))
    names = [case.get("name") for case in root.iter("testcase")]
    assert len(set(names)) == 2


@pytest.mark.parametrize("report", [FULL, QUIET, UNDECIDED, PLANNED])
def test_junit_can_be_read_whatever_the_report_holds(report: Report) -> None:
    root = ElementTree.fromstring(junit.render(report))
    assert root.get("tests") == str(len(report.coverage))


def test_sarif_points_at_the_line_of_the_reader_s_own_code() -> None:
    value = standard.loads(sarif.render(FULL))
    [run] = value["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    results = {one["properties"]["id"]: one for one in run["results"]}
    lost = results["lost-4f3a91bc"]
    assert rules[lost["ruleIndex"]] == lost["ruleId"] == "lost" and lost["level"] == "error"
    place = lost["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/notes.py", "uriBaseId": "CWD"}
    assert place["region"] == {"startLine": 17}
    frames = lost["stacks"][0]["frames"]
    assert frames[0]["location"]["physicalLocation"]["artifactLocation"] == {"uri": "/usr/lib/python3/json/__init__.py"}
    assert frames[2]["location"]["physicalLocation"]["artifactLocation"]["uri"] == "caf%E9.py"
    assert results["lost-aa00aa00"]["level"] == "note" and results["crashed-c0ffee12"]["level"] == "warning"
    assert lost["partialFingerprints"] == {"blackstart/v1": "1-4f3a91bc"}
    assert run["invocations"][0]["exitCode"] == 1


def test_a_known_gap_is_suppressed_in_sarif() -> None:
    known = msgspec.structs.replace(LOST, known="accepted until May")
    [result] = standard.loads(sarif.render(msgspec.structs.replace(FULL, findings=(known,))))["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "external", "justification": "accepted until May"}]
    assert result["level"] == "note"


@pytest.mark.parametrize("report", [FULL, QUIET, UNDECIDED, PLANNED])
def test_sarif_has_the_fields_that_the_standard_demands(report: Report) -> None:
    value = standard.loads(sarif.render(report))
    assert value["version"] == "2.1.0" and value["$schema"].endswith("sarif-schema-2.1.0.json")
    for run in value["runs"]:
        assert run["tool"]["driver"]["name"] == "blackstart"
        for result in run["results"]:
            assert result["message"]["text"] and result["level"] in ("none", "note", "warning", "error")
            assert 0 <= result["ruleIndex"] < len(run["tool"]["driver"]["rules"])
            for location in result.get("locations", ()):
                assert location["physicalLocation"]["artifactLocation"]["uri"]


def test_markdown_says_the_verdict_first_and_the_commands_whole() -> None:
    text = markdown.render(FULL).decode()
    assert text.startswith("### 🔴 blackstart: 2 findings: 1 lost, 1 crashed")
    assert "Against run 2: 1 new, 1 seen again, 1 fixed, 1 not tried again." in text
    assert "```sh\nblackstart replay lost-4f3a91bc\n```" in text
    assert markdown.render(QUIET).startswith("### 🟢 blackstart: No findings".encode())
    undecided = markdown.render(UNDECIDED).decode()
    assert undecided.startswith("### ⚪") and "no fault reached the program" in undecided


def test_markdown_tells_one_story_for_each_place(gold: Callable[[str, str], None]) -> None:
    gold(markdown.render(FOLDED).decode(), "report/folded.markdown")


def test_hostile_text_cannot_break_out_of_markdown() -> None:
    evil = "``` </details><img src=x> [x](http://x) @everyone #1 *b* | \x1b[31m\n# h"
    told = msgspec.structs.replace(LOST, fault=evil, evidence=(evil, HOSTILE), replay=evil, paths=(evil,))
    text = markdown.render(msgspec.structs.replace(FULL, findings=(told,), command=(evil,))).decode()
    outside = [line for line in text.splitlines() if line.startswith("- ") and "**" not in line]
    breaking = re.compile(r"<img|(?<!\\)\]\(|@everyone|(?<!\\)\*|(?<!\\)`")
    assert outside and not [line for line in outside if breaking.search(line)]
    assert "\x1b" not in text and "\n# h" not in text
    assert "````sh\n" in text, "the fence is longer than the one inside"
