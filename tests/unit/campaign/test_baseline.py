"""With a baseline only what is new fails a run; what it accepted is told, and so is what can leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.campaign import _Kept
from blackstart.campaign.baseline import entry_for, read
from blackstart.campaign.summary import finding_of
from blackstart.core.errors import BlackstartError
from blackstart.core.history import History
from blackstart.core.verdict import PASSED
from blackstart.findings.baseline import added
from blackstart.report.model import Report
from blackstart.report.points import Place
from blackstart.report.progress import SilentProgress
from blackstart.store import Store

from .build import campaign
from .test_summary import LOST, report, shown


def accepted(path: Path, expires: str = "") -> None:
    """A baseline that accepts LOST."""
    made, _, _ = campaign()
    shown(made, LOST)
    [suspicion] = made.tally.suspicions.values()
    text = added("", [entry_for(finding_of(suspicion, made.options), "we know", "Ann", None)], ())
    path.write_text(text + expires)


def ran(path: Path, *, fails: bool = True) -> Report:
    """A run with this baseline."""
    made, _, _ = campaign(baseline=str(path))
    if fails:
        shown(made, LOST)
    made.tally.count(Place(kind="kill", call="write", path="$CWD/a"), PASSED, History(start="S0", kind="kill"))
    return report(made)


def test_a_known_defect_fails_no_run(tmp_path: Path) -> None:
    accepted(tmp_path / "known.toml")
    found = ran(tmp_path / "known.toml")
    assert found.exit_status == 0 and found.findings[0].known == "we know (Ann)"
    assert found.baseline is not None and found.baseline.known == (found.findings[0].id,)


class Told(SilentProgress):
    """What was told of findings, and of all else."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.notes: list[str] = []

    def finding(self, line: str) -> None:
        self.findings.append(line)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_progress_tells_a_known_defect_as_a_known_gap(tmp_path: Path) -> None:
    accepted(tmp_path / "known.toml")
    made, _, _ = campaign()
    shown(made, LOST)
    [(cause, suspicion)] = made.tally.suspicions.items()
    told = Told()
    with Store(str(tmp_path)) as store:
        kept = _Kept(store, made.options, told)
        kept.begin()
        kept.found(cause, suspicion)
        kept.accepted = read(str(tmp_path / "known.toml"))
        kept.found(cause, suspicion)
    [line] = told.findings
    assert told.notes == [f"known gap: {line}"]


def test_one_whose_day_has_come_fails_it_again(tmp_path: Path) -> None:
    accepted(tmp_path / "known.toml", "expires = 1960-01-01\n")
    found = ran(tmp_path / "known.toml")
    assert found.exit_status == 1 and not found.findings[0].known
    assert found.baseline is not None and found.baseline.expired == (found.findings[0].id,)


def test_one_that_was_tried_and_not_found_can_go(tmp_path: Path) -> None:
    accepted(tmp_path / "known.toml")
    found = ran(tmp_path / "known.toml", fails=False)
    assert found.baseline is not None and [one.what for one in found.baseline.fixed] == [
        "lost by kill before write $CWD/a @1"
    ]
    text = (tmp_path / "known.toml").read_text().replace('"$CWD/a"', '"$CWD/elsewhere"')
    (tmp_path / "known.toml").write_text(text)
    found = ran(tmp_path / "known.toml", fails=False)
    assert found.baseline is not None and not found.baseline.fixed, "its place was not tried"


def test_a_baseline_that_cannot_be_read_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name, what in (("missing", "cannot be read"), ("bytes", "not UTF-8")):
        with pytest.raises(BlackstartError, match=what):
            read(str(tmp_path / name))
    with pytest.raises(BlackstartError, match="cannot be read"):
        campaign(baseline=str(tmp_path / "missing"))
