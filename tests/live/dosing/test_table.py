"""The table in the docs is that of the tests, and every id of the plan has one.

covers: R-32, R-33
"""

from __future__ import annotations

import pytest

from tests.live.dosing import table
from tests.live.dosing.gaps import GAPS


def test_every_id_of_the_plan_has_a_test() -> None:
    assert set(table.tests()) == set(table.TITLES) == {f"R-{number}" for number in range(4, 32)}


def test_every_gap_is_that_of_a_test() -> None:
    names = {name for names in table.tests().values() for name in names}
    assert {gap.partition("[")[0] for gap in GAPS} <= names


def test_the_table_in_the_docs_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    before, rest = text.split(table.BEGIN)
    _, after = rest.split(table.END)
    whole = f"{before}{table.BEGIN}\n\n{table.table()}\n\n{table.END}{after}"
    if request.config.getoption("--update-gold"):
        table.PAGE.write_text(whole, encoding="utf-8")
    assert whole == table.PAGE.read_text(encoding="utf-8"), "write it with --update-gold"
