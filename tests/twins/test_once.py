"""Twins that refuse a second run: one that half did its work is judged by what it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import run
from tests.twins.making import PROGRAMS, command

pytestmark = [pytest.mark.live, pytest.mark.twins]


@pytest.mark.parametrize(("side", "expected"), [("bad", {"lost"}), ("good", set())])
def test_what_an_update_in_place_destroys_is_found(side: str, expected: set[str], tmp_path: Path, rounds: int) -> None:
    for seed in range(1, rounds + 1):
        directory = tmp_path / f"round-{seed}"
        directory.mkdir()
        lines = "".join(f"{number} nails\n" for number in range(200))
        (directory / "list.txt").write_text(f"format 1\n{lines}")
        words = ("--only", "kill,errno", "--trials", "60")
        ran = run(command(PROGRAMS / f"once_{side}.sh"), directory, *words, seed=seed)
        assert {finding["consequence"] for finding in ran.defects} == expected, ran.said()
        assert any("refuses a second run" in note for note in ran.report["notes"]), ran.said()
