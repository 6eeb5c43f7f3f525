"""`twice`: what a start does again after a kill, and clean runs leave once, is named in a note."""

from __future__ import annotations

import pytest

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, KILLED, End, History
from blackstart.core.reading import Content, FileState
from blackstart.core.verdict import FAILED, NOTE, PASSED, Verdict
from blackstart.oracles import twice
from tests.unit.oracles.build import calibration, clean, file, history, run

SALES = "$CWD/sales.db"
LINES = "$CWD/sales.txt"


def sales(*names: str) -> FileState:
    leaves = tuple(sorted((f"sale/{number}/name", repr(name)) for number, name in enumerate(names, 1)))
    content = Content(form="sqlite", leaves=leaves, digest=str(leaves), count=len(leaves))
    return FileState(path=SALES, size=8192, digest=str(leaves), content=content)


def lines(*names: str) -> FileState:
    return file("".join(f"{name}\n" for name in names).encode(), LINES)


def judge(
    path: str,
    after: FileState,
    *finals: FileState,
    kind: str = "kill",
    code: int = 0,
    old: FileState | None = None,
    **changes: object,
) -> Verdict:
    chain = tuple(
        clean(k, files={path: final}, versions={path: (old, final)}, stdout="") for k, final in enumerate(finals)
    )
    known: Calibration = calibration(**{"chain": chain, "roles": {path: "state"}, **changes})
    first = run("run", {path: after}, end=End(how=KILLED))
    last = run("restart", {path: after}, end=End(how=EXITED, code=code))
    given: History = history(kind, (first, last), "S0")
    (verdict,) = twice.judge(given, known)
    return verdict


def test_a_row_that_stands_there_twice_is_a_note_that_shows_it() -> None:
    once = sales("nail", "saw")
    found = judge(SALES, sales("nail", "nail", "saw"), once, once)
    assert (found.outcome, found.consequence, found.label, found.paths) == (FAILED, "corrupt", NOTE, (SALES,))
    assert found.evidence[0] == (
        "after the restart $CWD/sales.db holds 1 row twice that clean runs leave once, the first: sale: name='nail'"
    )
    assert "2 lines twice" in judge(LINES, lines("nail", "saw", "nail", "saw"), *[lines("nail", "saw")] * 2).evidence[0]


@pytest.mark.parametrize(
    ("after", "finals"),
    [
        (("nail", "saw"), [("nail", "saw")] * 2),
        (("tick", "tick", "tick"), [("tick", "tick"), ("tick", "tick", "tick")]),  # clean runs repeat it
        (("nail", "bolt", "bolt"), [("nail",), ("nail", "saw")]),  # something new
        (("nail", "order * at *", "order * at *"), [("nail", "order * at *")] * 2),
    ],
)
def test_what_clean_runs_repeat_or_never_had_or_is_masked_is_no_matter(
    after: tuple[str, ...], finals: list[tuple[str, ...]]
) -> None:
    assert judge(LINES, lines(*after), *(lines(*final) for final in finals)).outcome == PASSED


@pytest.mark.parametrize(
    ("after", "first", "second", "is_noted"),
    [
        (("nail", "bolt"), ("nail", "saw"), ("nail", "saw", "bolt"), True),
        (("nail", "saw", "bolt"), ("nail", "saw"), ("nail", "saw", "bolt"), False),
        (("nail", "saw"), ("nail", "saw"), ("nail", "saw", "bolt"), False),  # it was done again
        (("nail",), ("nail", "saw"), ("nail", "saw", "bolt"), False),  # that is no matter of what comes after
        (("nail", "run 3"), ("nail", "run 2"), ("nail", "run 2", "run 3"), False),  # it went on counting
        (("nail", "axe"), ("nail", "saw"), ("nail", "saw", "bolt"), False),  # something else came of it
        (("saw", "bolt"), ("nail", "saw"), ("nail", "saw", "bolt"), False),  # what stood there is gone
        (("bolt",), ("saw",), ("bolt",), False),  # each run replaces what stood there
    ],
)
def test_what_was_passed_over_is_a_note(
    after: tuple[str, ...], first: tuple[str, ...], second: tuple[str, ...], is_noted: bool
) -> None:
    found = judge(LINES, lines(*after), lines(*first), lines(*second), old=lines("nail"))
    assert (found.outcome == FAILED) == is_noted
    if is_noted:
        assert (found.consequence, found.label, found.paths) == ("lost", NOTE, (LINES,))
        told = "lacks 1 line that every clean run leaves, and holds what comes after, the first: saw"
        assert found.evidence[0] == f"after the restart {LINES} {told}"


def test_only_kills_and_only_where_no_check_tells() -> None:
    once, more = lines("nail", "saw"), lines("nail", "saw", "saw")
    assert judge(LINES, more, once, once).outcome == FAILED
    assert judge(LINES, more, once, once, kind="errno").outcome == PASSED
    assert judge(LINES, more, once, once, has_check=True).outcome == PASSED
    assert judge(LINES, more, once, once, refuses_rerun=True).outcome == PASSED
    assert judge(LINES, more, once, once, roles={LINES: "log"}).outcome == PASSED
    assert judge(LINES, more, once, once, code=1).outcome == PASSED, "the restart is the finding then"
