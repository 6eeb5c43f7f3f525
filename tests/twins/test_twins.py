"""The oracles' own test: each bad twin shows exactly its consequence, each good one nothing above a note.

One round with `make test`, of those that are waited for over a minute in one language only, and no services; `make
twins` runs twenty of each with as many seeds: no false alarm, and at most one miss.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import Ran, run
from tests.twins.making import BOOK, CONSEQUENCES, LANGUAGES, UP, book, command, missing, twin
from tests.twins.tally import note

pytestmark = [pytest.mark.live, pytest.mark.twins]
# Whoever hangs or is locked out is watched for a minute, who spins for ten seconds each time; what is left behind takes
# many rounds. A service has time to settle in each trial; `tests/live/services` has shorter pairs.
LONG, IN_SHORT = ("stuck", "hung", "spinning", "leaked"), ("py",)
# Enough for each error on the way out, or on what is done each second.
TRIALS = {"dead": "8", "unclean": "40"}
PAIRS = [
    pytest.param(
        consequence,
        language,
        id=f"{consequence}-{language}",
        marks=[pytest.mark.slow] if consequence in UP or (consequence in LONG and language not in IN_SHORT) else [],
    )
    for consequence in CONSEQUENCES
    for language in LANGUAGES
]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Path | None:
    """Where each round is noted: `--tally`."""
    found: Path | None = request.config.getoption("--tally")
    return found


def broken(consequence: str, side: str, language: str, directory: Path, seed: int, tally: Path | None) -> Ran:
    """One run on a twin that starts with five deliveries."""
    if reason := missing(language):
        pytest.skip(reason)
    directory.mkdir()
    (directory / BOOK).write_bytes(book(5))
    # Room for a busy machine, but for those that hang: they are watched for as long as the budget allows.
    budget = "90s" if consequence == "hung" else "180s"
    words = ("--only", "errno,kill,file")
    if consequence in UP:
        words = ("--only", "errno,kill", "--ready", f"log:^{UP[consequence]}", "--trials", TRIALS[consequence])
    ran = run(command(twin(consequence, side, language)), directory, *words, seed=seed, budget=budget)
    if tally is not None:
        note(tally, consequence, language, side, seed, {finding["consequence"] for finding in ran.defects})
    return ran


@pytest.mark.parametrize(("consequence", "language"), PAIRS)
def test_a_bad_twin_gives_exactly_its_consequence(
    consequence: str, language: str, tmp_path: Path, rounds: int, tally: Path | None
) -> None:
    misses = []
    for seed in range(1, rounds + 1):
        ran = broken(consequence, "bad", language, tmp_path / f"round-{seed}", seed, tally)
        found = {finding["consequence"] for finding in ran.defects}
        assert found <= {consequence}, ran.said()
        assert ran.status == (1 if found else 0), ran.said()
        if not found:
            misses.append(ran.said())
    assert len(misses) <= rounds // 20, misses[0]


@pytest.mark.parametrize(("consequence", "language"), PAIRS)
def test_a_good_twin_gives_nothing(
    consequence: str, language: str, tmp_path: Path, rounds: int, tally: Path | None
) -> None:
    for seed in range(1, rounds + 1):
        ran = broken(consequence, "good", language, tmp_path / f"round-{seed}", seed, tally)
        assert not ran.defects, ran.said()
        assert ran.status == 0, ran.said()


@pytest.mark.needs("eu-stack", "addr2line")
@pytest.mark.parametrize("language", ["c", "go"])
def test_a_finding_on_a_native_program_names_function_and_line(language: str, tmp_path: Path) -> None:
    if reason := missing(language):
        pytest.skip(reason)
    (tmp_path / BOOK).write_bytes(book(5))
    source = twin("lost", "bad", language)
    ran = run(command(source), tmp_path, "--only", "kill", "--trials", "20")
    stacks = [[frame.rsplit(":", 2) for frame in finding["stack"]] for finding in ran.defects]
    assert stacks, ran.said()
    for file, function, line in (stack[0] for stack in stacks):
        assert function.rpartition(".")[2] == "fill" and int(line) > 0 and file.endswith(source.name), stacks
