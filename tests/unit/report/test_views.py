"""A report is written in every form, whole or not at all, and what cannot be written is told before a run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.report import json, views
from blackstart.report.views import write
from tests.unit.report.samples import FULL, QUIET


def test_every_form_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    files = {form: str(tmp_path / form) for form in views.FORMS}
    views.write_all(FULL, {**files, "markdown": ""})
    assert sorted(os.listdir(tmp_path)) == sorted(set(files) - {"markdown"})
    for form in set(files) - {"markdown"}:
        assert (tmp_path / form).read_bytes() == views.render(FULL, form)


def test_what_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    views.check({"json": "-", "html": str(tmp_path / "x.html"), "junit": ""})
    for files in ({"sarif": str(tmp_path)}, {"html": str(tmp_path / "missing" / "x")}, {"json": "-", "html": "-"}):
        with pytest.raises(BlackstartError) as error:
            views.check(files)
        assert error.value.next_step


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    write(json.render(QUIET), str(path), "again")
    assert json.decode(path.read_bytes()) == QUIET
    assert os.listdir(tmp_path) == ["r.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    write(json.render(QUIET), "/dev/null", "again")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(BlackstartError, match="cannot be written") as error:
        write(json.render(QUIET), str(tmp_path / "missing" / "r.html"), "again")
    assert error.value.next_step == "again"


def test_standard_output_can_be_named(capfd: pytest.CaptureFixture[str]) -> None:
    write(json.render(QUIET), "-", "again")
    assert json.decode(capfd.readouterr().out.encode()) == QUIET
