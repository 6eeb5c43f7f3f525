"""What one careless place does is one story, whatever the fault; what asks for another look stays apart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.report.folding import Fold, folded
from blackstart.report.model import Finding
from tests.unit.report.samples import LOST

AT_14 = ("/usr/lib/python3/json/__init__.py:dump:179", "$CWD/notes.py:save:14")
AT_20 = ("/usr/lib/python3/json/__init__.py:dump:179", "$CWD/notes.py:save:20")
WRITE = {"kind": "kill", "faults": [{"fault": "kill", "point": {"call": "write", "path": "$CWD/a", "nth": 2}}]}
READ = {"kind": "errno", "faults": [{"fault": "errno", "point": {"call": "read", "path": "$CWD/a", "nth": 2}}]}
FIRST = msgspec.structs.replace(LOST, id="first", paths=("$CWD/a",), advice="Rename it. Sync it.", stack=(), plan={})


def other(**changes: Any) -> Finding:
    return msgspec.structs.replace(FIRST, **{"id": "other", **changes})


def is_one(first: Finding, second: Finding) -> bool:
    return len(folded((first, second))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "errno", "fault": "write $CWD/a @1 fails with EIO", "advice": "Look at every result."},
        {"consequence": "corrupt"},
        {"paths": ("$CWD/log", "$CWD/a"), "advice": "Another."},
        {"severity": "major", "advice": "Another."},
        {"paths": ("$CWD/b",)},
    ],
)
def test_the_same_harm_or_the_same_repair_of_one_file_is_one_story(changes: dict[str, Any]) -> None:
    assert is_one(FIRST, other(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"consequence": "silent", "advice": "Another."},
        {"paths": ("$CWD/b",), "advice": "Another."},
        {"paths": ("$HOME/a",)},
        {"paths": ("$CWD/b",), "consequence": "corrupt"},
        {"label": "policy"},
    ],
)
def test_other_harm_or_other_files_are_a_story_of_their_own(changes: dict[str, Any]) -> None:
    assert not is_one(FIRST, other(**changes))


def test_other_harm_to_a_file_from_the_same_line_is_one_story() -> None:
    harm = {"consequence": "silent", "advice": "Another."}
    here = msgspec.structs.replace(FIRST, stack=AT_14)
    assert is_one(here, other(stack=AT_14, **harm)) and not is_one(here, other(stack=AT_20, **harm))
    assert is_one(here, other(stack=AT_14, paths=("$CWD/a", "$CWD/b"), **harm))
    assert not is_one(here, other(stack=AT_14, paths=("$CWD/b",), **harm)), "a function may have many callers"


def test_the_same_call_is_the_same_place_whether_or_not_its_line_is_known() -> None:
    harm = {"consequence": "silent", "advice": "Another."}
    here = msgspec.structs.replace(FIRST, plan=WRITE)
    assert is_one(msgspec.structs.replace(here, stack=AT_14), other(plan=WRITE, **harm))
    assert is_one(here, other(plan=WRITE, **harm)) and not is_one(here, other(plan=READ, **harm))
    twice = {"faults": [*WRITE["faults"], *READ["faults"]]}
    assert not is_one(msgspec.structs.replace(here, plan=twice), other(plan=twice, **harm))


def test_findings_that_name_no_file_are_one_story_where_all_else_is_the_same() -> None:
    assert not is_one(other(paths=()), other(paths=(), id="third")), "neither tells its place"
    crash = other(paths=(), consequence="crashed", plan=WRITE, stack=AT_14)
    by_a_full_disk = msgspec.structs.replace(crash, id="third", kind="disk", stack=())
    assert is_one(crash, by_a_full_disk)
    for changes in ({"plan": READ}, {"advice": "Another."}, {"consequence": "hung"}, {"paths": ("$CWD/a",)}):
        assert not is_one(crash, msgspec.structs.replace(by_a_full_disk, **changes))


def test_likeness_is_not_handed_on() -> None:
    here = msgspec.structs.replace(FIRST, plan=WRITE)
    silent = other(consequence="silent", advice="Another.", plan=WRITE)
    reading = other(id="third", consequence="silent", advice="A third.", plan=READ)
    assert [[fold.first.id, *(one.id for one in fold.others)] for fold in folded((here, silent, reading))] == [
        ["first", "other"],
        ["third"],
    ]
    again = msgspec.structs.replace(silent, id="again", plan=READ)
    assert [len(fold.others) for fold in folded((here, silent, again))] == [2], "but for the fault it is the same"


def test_of_further_advice_only_what_is_new_is_told() -> None:
    others = (other(advice="Rename it. Say so."), other(id="third", advice="Say so."), other(id="none", advice=""))
    assert Fold(first=FIRST, others=others).more_advice == (("other", "Say so."),)
