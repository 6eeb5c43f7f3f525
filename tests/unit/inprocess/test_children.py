"""Failpoints in child processes, also in one that is killed by its own.

covers: M-4, R-18
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from blackstart import inprocess
from blackstart.core.rule import RuleError
from blackstart.inprocess.children import RULES, in_children

PROGRAM = "import sys\nimport shop\nfor n in range(4):\n    shop.save(sys.argv[1], str(n))\n    print(n, flush=True)\n"


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """A program that saves four times through shop.py."""
    (tmp_path / "shop.py").write_text((Path(__file__).parent / "shop.py").read_text())
    (tmp_path / "program.py").write_text(PROGRAM)
    return [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "state")]


def test_a_child_is_killed_at_its_failpoint_and_the_hit_is_known(program: list[str], tmp_path: Path) -> None:
    with in_children({"save-rename": "@3 kill", "save-end": "off"}, ledger=tmp_path / "hits") as children:
        done = subprocess.run(program, env=children.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "0\n1\n")
    assert (tmp_path / "state").read_text() == "1"
    assert (children.hits("save-rename"), children.fired("save-rename")) == (3, 1)
    assert (children.hits("save-end"), children.fired("save-end")) == (2, 0)


def test_a_child_that_never_gets_there_is_an_error(program: list[str], tmp_path: Path) -> None:
    with pytest.raises(inprocess.NeverFired, match="reached 4 times"):
        with in_children({"save-end": "@9 kill"}, ledger=tmp_path / "hits") as children:
            subprocess.run(program, env=children.environment, capture_output=True, check=True)
    with pytest.raises(inprocess.NeverFired, match="no child imported a module that has it"):
        with in_children({"save-ende": "kill"}, ledger=tmp_path / "others") as children:
            subprocess.run(program, env=children.environment, capture_output=True, check=True)


def test_bad_rules_are_refused_here_and_stop_a_child_that_gets_them_all_the_same(
    program: list[str], tmp_path: Path
) -> None:
    with pytest.raises(RuleError), in_children({"save-end": "kil"}, ledger=tmp_path / "hits"):
        pass
    with pytest.raises((inprocess.NotArmable, RuleError)):
        with in_children({"save-end": "print(a;b=c)"}, ledger=tmp_path / "hits"):
            pass
    with in_children({"save-end": "off"}, ledger=tmp_path / "hits") as children:
        environment = children.environment | {RULES: "save-end=kil"}
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'kill'" in done.stderr


def test_the_sites_own_customisation_still_runs(program: list[str], tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("print('customised', flush=True)\n")
    with in_children({"save-rename": "@1 exit(7)"}, ledger=tmp_path / "hits") as children:
        environment = children.environment | {"PYTHONPATH": f"{children.environment['PYTHONPATH']}:{site}"}
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "customised\n")


def test_hits_of_those_before_are_not_those_of_the_next(program: list[str], tmp_path: Path) -> None:
    with in_children({"save-end": "@1 exit(3)"}, ledger=tmp_path / "hits") as children:
        subprocess.run(program, env=children.environment, check=False)
    assert children.fired("save-end") == 1
    with pytest.raises(inprocess.NeverFired, match="no child imported"):
        with in_children({"save-end": "@1 exit(3)"}, ledger=tmp_path / "hits") as later:
            assert (later.hits("save-end"), later.fired("save-end")) == (0, 0)
