"""A finding is found in the store of its directory, or in a report that somebody sent."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from blackstart.core.errors import BlackstartError
from blackstart.core.options import Options
from blackstart.report import json
from blackstart.report.lookup import load_finding, load_report
from blackstart.report.model import Finding
from blackstart.store import Store
from tests.unit.report.samples import FULL, LOST, QUIET


def kept(directory: Path) -> None:
    """FULL as a campaign keeps it."""
    with Store(str(directory)) as store:
        number = store.begin_run(FULL.command, FULL.seed, cwd=FULL.cwd, options=json.encode_plain(FULL.options))
        store.finish_run(number, json.encode(FULL))


def expected(directory: Path) -> Options:
    return Options(command=FULL.command, cwd=str(directory), state=("data",), env={"LANG": "caf\udce9"}, seed=42)


def test_by_id_and_by_prefix_from_the_store(tmp_path: Path) -> None:
    kept(tmp_path)
    for reference in (LOST.id, "lost-4"):
        found = load_finding(reference, str(tmp_path))
        assert msgspec.convert(found.finding, Finding) == LOST
        assert found.options == expected(tmp_path)


def test_from_a_report_in_another_directory(tmp_path: Path) -> None:
    (tmp_path / "a#b").mkdir()
    path = tmp_path / "a#b" / "r.json"
    path.write_bytes(json.render(FULL))
    for reference in (f"{path}#{LOST.id}", "a#b/r.json#lost-4"):
        found = load_finding(reference, str(tmp_path))
        assert found.finding["plan"] == LOST.plan
        assert found.options == expected(tmp_path)
    assert load_report(str(path)) == FULL


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(json.render(FULL))
    for reference, message, step in (
        (f"{path}#nope", "no finding 'nope'", LOST.id),
        (f"{path}#lost", "several findings begin with 'lost'", LOST.id),
        (f"{path}#", "no finding ''", LOST.id),
        (f"{path}", "a report, not a finding", "r.json#ID"),
        ("missing.json#lost", "cannot be read: No such file", "check the path"),
        ("lost", "nothing is kept here yet", "blackstart run"),
    ):
        with pytest.raises(BlackstartError, match=message) as error:
            load_finding(reference, str(tmp_path))
        assert step in error.value.next_step, reference
    path.write_bytes(json.render(QUIET))
    with pytest.raises(BlackstartError) as error:
        load_finding(f"{path}#x", str(tmp_path))
    assert error.value.next_step == "it has no findings"


def test_odd_reports_are_refused_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for raw in (
        b'{"schema": "blackstart-report/1", "findings": 3}',
        b'{"schema": "blackstart-report/1", "findings": [3, {"id": 7}]}',
        b'{"schema": "blackstart-report/1", "findings": [{"id": "x"}], "command": 3}',
        b'{"schema": "blackstart-report/1", "findings": [{"id": "x"}], "command": ["a"], "options": {"jobs": "x"}}',
    ):
        path.write_bytes(raw)
        with pytest.raises(BlackstartError):
            load_finding(f"{path}#x", str(tmp_path))
