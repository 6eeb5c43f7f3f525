"""Folders that may be caches as a whole, and what a run without one tells."""

from __future__ import annotations

from blackstart.core.calibration import CleanRun
from blackstart.core.reading import Content, FileState
from blackstart.surface import Deletion, doubtful_folders, judge_deletion, within

RESULT, NOTE, IGNORE = "$CWD/cache/one/result", "$CWD/cache/one/made.json", "$CWD/cache/.gitignore"
ROLES = {RESULT: "cache", NOTE: "state", IGNORE: "output"}


def deletion(path: str, *, changed: bool = False, rebuilt: bool = True) -> Deletion:
    return Deletion(path=path, answers_changed=changed, answers_could_differ=True, rebuilt_equal=rebuilt)


KNOWN = {RESULT: deletion(RESULT), NOTE: deletion(NOTE, rebuilt=False)}


def test_folders_around_a_cache_the_outermost_first() -> None:
    assert list(doubtful_folders(ROLES, KNOWN)) == ["$CWD/cache", "$CWD/cache/one"]
    assert within("$CWD/cache", ROLES) == (RESULT, NOTE, IGNORE)


def test_one_that_was_told_leaves_nothing_to_ask() -> None:
    known = dict(KNOWN)
    folders = doubtful_folders(ROLES, known)
    assert next(folders) == "$CWD/cache"
    known |= {path: deletion(path) for path in within("$CWD/cache", ROLES)}
    assert list(folders) == []


def test_what_is_needed_or_was_never_made_by_the_program_is_no_part_of_a_cache() -> None:
    assert not list(doubtful_folders(ROLES, {**KNOWN, NOTE: deletion(NOTE, changed=True)}))
    assert not list(doubtful_folders({**ROLES, "$CWD/cache/one/settings": "config"}, KNOWN))
    assert not list(doubtful_folders({RESULT: "cache", "$CWD/data.json": "state"}, KNOWN))


def test_only_folders_of_the_program_are_deleted() -> None:
    assert not list(doubtful_folders({"/var/cache/one/a": "cache", "/var/lib/b": "state"}, {}))
    assert not list(doubtful_folders({"$CWD/a": "cache", "$CWD/b": "state"}, {"$CWD/a": deletion("$CWD/a")}))


def state(text: str) -> FileState:
    return FileState(path="", size=len(text), digest=text, content=Content(form="", digest=text))


def judged(files: dict[str, FileState]) -> Deletion:
    kept = {RESULT: state("r"), NOTE: state("n"), "$CWD/x": state("x")}
    clean = CleanRun(start="S1", code=0, elapsed_s=0.1, stdout="14\n", files=kept)
    return judge_deletion("$CWD/cache", clean, code=0, stdout="14\n", check="", files=files)


def test_a_folder_is_rebuilt_if_all_in_it_is() -> None:
    whole = {RESULT: state("r"), NOTE: state("n"), "$CWD/x": state("x")}
    assert judged(whole).rebuilt_equal and not judged(whole).answers_changed
    assert not judged({**whole, NOTE: state("another")}).rebuilt_equal
    assert not judged({RESULT: state("r"), "$CWD/x": state("x")}).rebuilt_equal
    assert judged({**whole, "$CWD/x": state("y")}).answers_changed
