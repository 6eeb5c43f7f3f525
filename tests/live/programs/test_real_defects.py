"""Defects of programs and libraries that nobody here wrote, asserted by consequence and file; then each is replayed.

A replay must work from the JSON report alone, in a second copy of the directory too, and after unrelated lines were
inserted above the defect: that is how a colleague meets a finding.
"""

from __future__ import annotations

import configparser
import dbm.dumb
import json
import shelve
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.programs.running import PYTHON, TARGETS, Ran, places, replay, run

pytestmark = pytest.mark.live
EXAMPLES = Path(__file__).parents[3] / "examples" / "notes"
LINES_ABOVE = "".join(f"# unrelated line {number}\n" for number in range(20))


def pump(directory: Path) -> None:
    config = configparser.ConfigParser()
    config["totals"] = {"runs": "4", "litres": "12"}
    with (directory / "pump.ini").open("w") as file:
        config.write(file)


def inventory(directory: Path) -> None:
    with shelve.Shelf(dbm.dumb.open(str(directory / "inventory"), "c")) as shelf:
        for number in range(50):
            shelf[f"item {number}"] = {"pieces": number}


def visits(directory: Path) -> None:
    content = {"visits": 3, "visit 1": "seen", "visit 2": "seen", "visit 3": "seen"}
    (directory / "visits.json").write_text(json.dumps(content))


def notes(directory: Path) -> None:
    kept = {str(number): {"text": f"note number {number} of the week"} for number in range(1, 6)}
    (directory / "notes.json").write_text(json.dumps({"_default": kept}))


@dataclass(frozen=True)
class Case:
    """A program, its first state, and what must be found: one of the consequences on this file.

    kinds: those that find it and the ones beside them; all would take twice as long.
    """

    script: Path
    prepare: Callable[[Path], None]
    consequences: frozenset[str]
    file: str
    words: tuple[str, ...] = ()
    module: str = ""
    kinds: str = "errno,kill,file"

    def start(self, directory: Path) -> list[str]:
        """Lay the program's own copy and its state into a directory."""
        directory.mkdir()
        shutil.copy(self.script, directory)
        self.prepare(directory)
        return [PYTHON, self.script.name, *self.words]


CASES = {
    "configparser": Case(TARGETS / "rewrite_ini.py", pump, frozenset({"lost"}), "pump.ini"),
    "dbm.dumb": Case(TARGETS / "shelve_inventory.py", inventory, frozenset({"lost"}), "inventory.d"),
    "pickledb": Case(
        TARGETS / "pickledb_counter.py",
        visits,
        frozenset({"lost"}),
        "visits.json",
        module="pickledb",
        kinds="errno,kill,power",
    ),
    "tinydb": Case(
        EXAMPLES / "notes.py", notes, frozenset({"corrupt"}), "notes.json", words=("add", "buy milk"), module="tinydb"
    ),
}


@dataclass(frozen=True)
class Broken:
    case: Case
    directory: Path
    ran: Ran


@pytest.fixture(scope="module", params=CASES)
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    """One run on each program; the tests below look at its report."""
    case = CASES[request.param]
    if case.module:
        pytest.importorskip(case.module)
    directory = tmp_path_factory.mktemp(request.param.replace(".", "-")) / "work"
    command = case.start(directory)
    return Broken(case, directory, run(command, directory, "--only", case.kinds))


def assert_most_replay(ran: Ran, findings: list[dict[str, Any]], directory: Path) -> None:
    """At least 9 in 10."""
    outcomes = {finding["id"]: replay(ran, finding, directory) for finding in findings}
    missed = [f"{name}: exit status {status}\n{words}" for name, (status, words) in outcomes.items() if status != 1]
    assert len(missed) * 10 <= len(outcomes), f"{len(missed)} of {len(outcomes)}\n" + "\n".join(missed)


def test_the_defect_is_found_by_consequence_and_file(broken: Broken) -> None:
    ran, case = broken.ran, broken.case
    assert ran.status == 1, ran.said()
    found = [f for f in ran.defects if f["consequence"] in case.consequences and case.file in places(f)]
    assert found, ran.said()
    assert all(finding["severity"] == "critical" for finding in found), ran.said()
    assert all(finding["replay"].startswith("blackstart replay ") for finding in ran.findings)


@pytest.mark.slow  # defects are replayed below, and in a copy besides
def test_each_finding_replays(broken: Broken) -> None:
    assert_most_replay(broken.ran, broken.ran.findings, broken.directory)


def test_each_defect_replays_in_a_second_copy_with_lines_inserted_above(broken: Broken, tmp_path: Path) -> None:
    copy = tmp_path / "edited"
    broken.case.start(copy)
    script = copy / broken.case.script.name
    script.write_text(LINES_ABOVE + script.read_text())
    assert_most_replay(broken.ran, broken.ran.defects, copy)


def test_fingerprints_survive_inserted_lines(broken: Broken, tmp_path: Path) -> None:
    copy = tmp_path / "edited"
    command = broken.case.start(copy)
    script = copy / broken.case.script.name
    script.write_text(LINES_ABOVE + script.read_text())
    again = run(command, copy, "--only", broken.case.kinds)
    before = {finding["fingerprint"] for finding in broken.ran.defects}
    assert before == {finding["fingerprint"] for finding in again.defects}, broken.ran.said() + again.said()
