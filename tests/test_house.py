"""The house rules hold for this repository: who may import whom, sizes, banned names, no dead module, texts.

The rules stand in tests/house.py and tests/house_text.py; they are tested themselves in tests/unit/house.
"""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests import house, house_text

ROOT = Path(__file__).parents[1]


@cache
def tree() -> house.Tree:
    """Read once for all tests."""
    return house.Tree.read(ROOT)


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the repository; in a tree without git, all that is no build product."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())
    return tuple(path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts)


def report(violations: list[str]) -> None:
    """Fail with one violation a line, and nothing else to read."""
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)


def test_imports_obey_the_table() -> None:
    report(house.import_violations(tree()))


def test_judges_do_not_look_at_the_world() -> None:
    report(house.purity_violations(tree()))


def test_functions_and_modules_can_be_read_at_once() -> None:
    report(house.size_violations(tree()))


def test_nothing_banned_is_used() -> None:
    report(house.banned_violations(tree()))


def test_no_program_is_known_by_name() -> None:
    report(house.program_violations(tree()))


def test_public_things_say_what_they_are() -> None:
    report(house.docstring_violations(tree()))


def test_no_module_is_dead() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    roots = [value.partition(":")[0] for entry in entries for value in entry.values()]
    if absent := [root for root in roots if root not in tree().modules]:
        pytest.skip(f"{', '.join(absent)} does not exist yet: nothing can be reached from it")
    public = ["blackstart.__main__", "blackstart.testing", "blackstart.testing.stateful"]
    report(house.dead_modules(tree(), [*roots, *public]))


def test_pages_have_titles_and_their_links_lead_somewhere() -> None:
    report(house_text.markdown_violations(ROOT, [path for path in tracked() if path.suffix == ".md"]))


def test_change_fragments_have_the_form_that_a_release_collects() -> None:
    report(house_text.change_violations(ROOT))


def test_files_are_small_and_speak_of_no_machine() -> None:
    report(house_text.file_violations(ROOT, tracked()))
