"""The tables in the docs are those of the tests, and every id of the plan has one.

covers: R-32, R-33
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.dosing import table
from tests.live.dosing.gaps import GAPS
from tests.live.dosing.hardenings import HARDENINGS


def test_every_id_of_the_plan_has_a_test() -> None:
    assert set(table.tests()) == set(table.TITLES)
    assert set(table.means()) == set(table.MEANS)
    assert sorted([*table.TITLES, *table.MEANS]) == sorted(f"R-{number}" for number in range(1, 34))


def test_a_test_covers_what_its_own_docstring_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(
        '"""Of the file.\n\ncovers: R-1\n"""\n'
        'def test_both():\n    """Text.\n\n    covers: R-3, R-33, M-5\n    """\n'
        'def test_none():\n    "covers: R-2 perhaps"\ndef helper():\n    "covers: R-2"\n'
    )
    monkeypatch.setattr(table, "MEANS_IN", (tmp_path,))
    name = f"{tmp_path.name}/test_it.py::test_both"
    assert table.means() == {"R-3": [name], "R-33": [name]}


def test_every_gap_is_that_of_a_test() -> None:
    names = {name for names in table.tests().values() for name in names}
    assert {gap.partition("[")[0] for gap in GAPS} <= names


def test_every_hardening_turns_a_test_red_that_there_is() -> None:
    names = {name for names in table.tests().values() for name in names}
    for one in HARDENINGS.values():
        assert one.red, one.what
        assert {red.partition("[")[0] for red in one.red} <= names, one.what


def test_the_tables_in_the_docs_are_up_to_date(request: pytest.FixtureRequest) -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    before, rest = text.split(table.BEGIN)
    _, after = rest.split(table.END)
    whole = f"{before}{table.BEGIN}\n\n{table.tables()}\n\n{table.END}{after}"
    if request.config.getoption("--update-gold"):
        table.PAGE.write_text(whole, encoding="utf-8")
    assert whole == table.PAGE.read_text(encoding="utf-8"), "write it with --update-gold"
