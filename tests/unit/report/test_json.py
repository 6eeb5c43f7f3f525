"""The JSON report is read back as it was, and its schema is the published one."""

from __future__ import annotations

import json as standard
from pathlib import Path

import msgspec
import pytest

from blackstart.core.errors import BlackstartError
from blackstart.report import json
from blackstart.report.model import SCHEMA, Report
from tests.unit.report.samples import FULL, PLANNED, QUIET, UNDECIDED

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("report", [FULL, QUIET, UNDECIDED, PLANNED])
def test_a_report_is_read_back_as_it_was(report: Report) -> None:
    assert json.decode(json.encode(report)) == report
    assert json.decode(json.encode(report, pretty=True)) == report


def test_bytes_that_are_not_utf8_are_escaped() -> None:
    value = standard.loads(json.encode(FULL))
    assert value["command"][4:] == [r"caf\xe9", r"\x5cx41"]
    assert value["options"]["env"] == {"LANG": r"caf\xe9"}


def test_the_keys_that_others_rely_on_are_there() -> None:
    value = standard.loads(json.encode(QUIET))
    assert value["schema"] == SCHEMA and next(iter(value)) == "schema"
    assert {"command", "seed", "surface", "doors", "trials", "findings", "muted", "uncovered", "exit_status"} <= set(
        value
    )
    finding = standard.loads(json.encode(FULL))["findings"][0]
    assert {
        *("id", "fingerprint", "severity", "label", "consequence", "kind", "fault", "where"),
        *("evidence", "reproduced", "replay", "plan"),
    } <= set(finding)


def test_the_published_schema_is_the_one_of_the_structs(request: pytest.FixtureRequest) -> None:
    places = [ROOT / "src/blackstart/report/report.schema.json", ROOT / "docs/report.schema.json"]
    if request.config.getoption("--update-gold"):
        for place in places:
            place.write_text(json.schema_text(), encoding="utf-8")
    assert json.published_schema() == json.schema_text(), "write it again with --update-gold"
    assert all(place.read_text(encoding="utf-8") == json.schema_text() for place in places)


def test_an_unknown_field_of_a_younger_version_is_read_over() -> None:
    value = standard.loads(json.encode(QUIET))
    value["new"] = {"x": 1}
    assert json.decode(msgspec.json.encode(value)) == QUIET


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a report of blackstart"),
        (b'{"a": 1}', "not a report of blackstart"),
        (b'{"schema": 3}', "not a report of blackstart"),
        (b'{"schema": "blackstart-report/9"}', "has the form blackstart-report/9, this version reads"),
        (b'{"schema": "blackstart-report/1"}', "missing required field `command`"),
        (b'{"schema": "blackstart-report/1", "command": [1]}', r"\$\.command\[0\]"),
    ],
)
def test_what_is_no_report_is_told_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(BlackstartError, match=message) as error:
        json.decode(raw, where="r.json")
    assert error.value.where == "r.json" and error.value.next_step
