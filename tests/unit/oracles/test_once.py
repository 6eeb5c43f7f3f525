"""A job that refuses a second run: what it half changed is judged as it stands."""

from __future__ import annotations

import pytest

from blackstart.core.history import KILLED, End
from blackstart.core.reading import FileState
from blackstart.core.verdict import FAILED
from blackstart.oracles import judge_all
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, run

OTHER = "$CWD/other"
OLD = file(b'{"version": 1, "notes": ["one", "two", "three"]}')
NEW = file(b'{"version": 2, "notes": ["one", "two", "three"]}')
TORN = file(b'{"version": 2, "notes": ["one"')


def failing(
    left: dict[str, FileState | None], before: dict[str, FileState | None], after: dict[str, FileState | None]
) -> list[tuple[str, tuple[str, ...]]]:
    """A kill leaves these files; a clean run changes them from `before` to `after`."""
    versions = {path: (before.get(path), after.get(path)) for path in {**before, **after}}
    files = {path: state for path, state in after.items() if state is not None}
    once = clean(0, files=files, versions=versions, acknowledgements=(), stdout="")
    roles = dict.fromkeys(versions, "state")
    yardstick = calibration(chain=(once,), refuses_rerun=True, roles=roles)
    given = history("kill", (run("run", left, end=End(how=KILLED)),), "S0")
    return [(v.consequence, v.paths) for v in judge_all(given, yardstick) if v.outcome == FAILED]


def test_what_is_updated_holds_the_old_or_the_new_content() -> None:
    for state in (OLD, NEW):
        assert failing({NOTES: state}, {NOTES: OLD}, {NOTES: NEW}) == []
    assert failing({NOTES: TORN}, {NOTES: OLD}, {NOTES: NEW}) == [("corrupt", (NOTES,))]
    assert failing({NOTES: file(b"")}, {NOTES: OLD}, {NOTES: NEW}) == [("corrupt", (NOTES,))]
    assert failing({NOTES: None}, {NOTES: OLD}, {NOTES: NEW}) == [("lost", (NOTES,))]


@pytest.mark.parametrize(("kind", "told"), [("power", "after the cut"), ("kill", "when it had ended")])
def test_it_says_of_which_moment_it_tells(kind: str, told: str) -> None:
    """A cut may fall after the end; what stands there then is not what stood there when it ended."""
    once = clean(0, files={NOTES: NEW}, versions={NOTES: (OLD, NEW)}, acknowledgements=(), stdout="")
    yardstick = calibration(chain=(once,), refuses_rerun=True)
    given = history(kind, (run("run", {NOTES: file(b"")}, end=End(how=KILLED)),), "S0")
    (verdict,) = (verdict for verdict in judge_all(given, yardstick) if verdict.outcome == FAILED)
    assert verdict.evidence[0].startswith(f"{told} {NOTES} ")


def test_what_stands_elsewhere_is_not_lost() -> None:
    assert failing({NOTES: TORN, OTHER: OLD}, {NOTES: OLD}, {NOTES: NEW}) == []


def test_what_is_replaced_by_something_else_was_worth_nothing() -> None:
    message = file(b'{"message": "another one"}')
    assert failing({NOTES: TORN}, {NOTES: OLD}, {NOTES: message}) == []


def test_what_is_half_made_beside_its_source_is_no_loss() -> None:
    packed, piece = file(b"\x00" * 64, OTHER), file(b"\x00" * 16, OTHER)
    assert failing({NOTES: OLD, OTHER: piece}, {NOTES: OLD}, {NOTES: None, OTHER: packed}) == []
    assert failing({NOTES: None, OTHER: packed}, {NOTES: OLD}, {NOTES: None, OTHER: packed}) == []
    assert failing({NOTES: None, OTHER: piece}, {NOTES: OLD}, {NOTES: None, OTHER: packed}) == [("lost", (OTHER,))]
