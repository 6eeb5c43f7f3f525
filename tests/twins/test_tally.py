"""The table of rounds counts what was found, and what should not have been."""

from __future__ import annotations

import json
from pathlib import Path

from tests.twins.tally import BEGIN, END, PAGE, note, table


def test_the_table_counts_hits_and_alarms(tmp_path: Path) -> None:
    file = tmp_path / "build" / "rounds.jsonl"
    note(file, "lost", "go", "bad", 1, ["lost"])
    note(file, "lost", "go", "bad", 2, [])
    note(file, "lost", "go", "good", 1, ["hung"])
    rounds = [json.loads(line) for line in file.read_text().splitlines()]
    assert "| `lost` |  |  | 1/2, 1/3 |  |" in table(rounds).splitlines()


def test_a_round_that_was_run_again_counts_once() -> None:
    rounds = [
        {"consequence": "lost", "language": "c", "side": "bad", "seed": 1, "found": found}
        for found in ([], ["lost"])
    ]
    assert "| `lost` |  | 1/1, 0/1 |  |  |" in table(rounds).splitlines()


def test_the_page_has_a_place_for_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
