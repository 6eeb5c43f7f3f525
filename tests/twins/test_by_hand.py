"""The twins are what they claim, shown by strace alone: a judge is not tested on programs that only it has judged."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.twins import by_hand_services
from tests.twins.by_hand import ANY, NAMES, consequences
from tests.twins.making import CONSEQUENCES, LANGUAGES, UP, command, missing, twin

pytestmark = [pytest.mark.live, pytest.mark.twins]
PAIRS = [(consequence, language) for consequence in CONSEQUENCES for language in LANGUAGES]
# Who hangs or spins is watched until that is sure, services have a second in each of their lives: as slow as they are
# judged, in test_twins, and no sooner needed.
LONG = ("hung", "spinning")
SHORT = [
    pytest.param(*pair, marks=[pytest.mark.slow] if pair[0] in UP or (pair[0] in LONG and pair[1] != "py") else [])
    for pair in PAIRS
]


@pytest.mark.parametrize(("consequence", "language"), PAIRS)
def test_twins_differ_in_at_most_ten_lines(consequence: str, language: str) -> None:
    bad, good = (twin(consequence, side, language).read_text().splitlines() for side in ("bad", "good"))
    changed = [line for line in difflib.ndiff(bad, good) if line[0] in "+-"]
    assert 0 < len(changed) <= 10, "\n".join(changed)


@pytest.mark.needs("strace")
@pytest.mark.parametrize(("consequence", "language"), SHORT)
@pytest.mark.parametrize("side", ["bad", "good"])
def test_a_twin_shows_its_consequence_and_no_other(consequence: str, language: str, side: str, tmp_path: Path) -> None:
    if reason := missing(language):
        pytest.skip(reason)
    program = command(twin(consequence, side, language))
    if consequence in UP:
        found = by_hand_services.consequences(consequence, program, tmp_path / "work")
    else:
        names = (ANY,) if consequence == "leaked" else NAMES
        found = consequences(program, tmp_path / "work", names, is_lasting=consequence == "spinning")
    assert set(found) == ({consequence} if side == "bad" else set()), found
