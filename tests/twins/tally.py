"""How often each twin gave what: rounds are noted as they end, and the table in docs/twins.md is made of them.

    python -m tests.twins.tally build/twins.jsonl     writes the table between the marks in docs/twins.md

A line of the file is one round: an object with consequence, language, side, seed, and what was found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.twins.making import CONSEQUENCES, LANGUAGES

PAGE = Path(__file__).parents[2] / "docs" / "twins.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
NAMES = {"py": "Python", "c": "C", "go": "Go", "sh": "shell"}


def note(file: Path, consequence: str, language: str, side: str, seed: int, found: Iterable[str]) -> None:
    """Add one round; whole or not at all, whoever else writes there too."""
    told = {"consequence": consequence, "language": language, "side": side, "seed": seed, "found": sorted(found)}
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(told) + "\n")


def cell(rounds: Iterable[Mapping[str, Any]], consequence: str) -> str:
    """Rounds of the bad twin that found it, and rounds of either twin that found what is not there."""
    rounds = list(rounds)
    bad = [one for one in rounds if one["side"] == "bad"]
    hits = sum(consequence in one["found"] for one in bad)
    alarms = sum(any(one["side"] == "good" or found != consequence for found in one["found"]) for one in rounds)
    return f"{hits}/{len(bad)}, {alarms}/{len(rounds)}" if rounds else ""


def table(rounds: Iterable[Mapping[str, Any]]) -> str:
    """One row a consequence, one column a language; the last round of each seed counts."""
    last = {(one["consequence"], one["language"], one["side"], one["seed"]): one for one in rounds}
    rows = [f"| consequence | {' | '.join(NAMES[language] for language in LANGUAGES)} |", "|---" * 5 + "|"]
    for consequence in CONSEQUENCES:
        cells = [
            cell((one for key, one in last.items() if key[:2] == (consequence, language)), consequence)
            for language in LANGUAGES
        ]
        rows.append(f"| `{consequence}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(file: Path) -> None:
    rounds = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{begin}\n{table(rounds)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
