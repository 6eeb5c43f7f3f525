"""Kind errno: only errors that could happen in this world, the likeliest first."""

from __future__ import annotations

import pytest

from blackstart.core.trace import Operation
from blackstart.faults import errno as kind
from blackstart.faults.errno import SHORT, Errno, candidates, errors_of
from blackstart.faults.point import Point
from blackstart.gate import refuse
from blackstart.gate.errnos import possible

from .build import (
    CONFIG,
    CREATE,
    EXCLUSIVE,
    LIBRARY,
    NOTES,
    READ,
    TEMPORARY,
    TRUNCATE,
    atomic_rewrite,
    calibration,
    clean,
    file,
    trace,
)

CONTRADICTIONS = {"ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EBADF", "EFAULT", "EINVAL", "ENAMETOOLONG"}


def names(operation: Operation, is_there: bool | None = None) -> set[str]:
    return {error for error, _ in errors_of(operation, is_there)}


def tried(run: tuple[Operation, ...], path: str = "", call: str = "", **more: object) -> set[str]:
    """The errors that are tried at these places."""
    one = clean(run, **more)  # type: ignore[arg-type]
    found = [c.fault for c in candidates(one, calibration(None, one)) if not c.crash]
    assert all(isinstance(fault, Errno) for fault in found)
    return {
        fault.error
        for fault in found
        if isinstance(fault, Errno) and path in ("", fault.point.path) and call in ("", fault.point.call)
    }


def test_every_error_in_the_table_is_one_that_the_call_can_give() -> None:
    for call, pairs in kind._ERRORS.items():
        for error, _ in pairs:
            assert error == SHORT or error in possible(call), (call, error)
            assert error not in CONTRADICTIONS
    for error, _ in (*kind._CREATING, *kind._READING):
        assert error in possible("openat")


def test_a_file_that_is_there_needs_no_room_to_be_opened() -> None:
    opening = trace(("openat", NOTES, {"flags": TRUNCATE}))[0]
    assert "ENOSPC" not in names(opening, True)
    assert "ENOSPC" in names(opening, False)


def test_what_is_not_there_cannot_be_refused() -> None:
    opening = trace(("openat", NOTES, {"flags": READ}))[0]
    assert errors_of(opening, False) == ()
    assert names(opening, True) == {"EACCES", "EMFILE", "EIO"}


def test_making_what_is_there_fails_by_itself() -> None:
    making = trace(("mkdir", "$CWD/d"))[0]
    assert errors_of(making, True) == ()
    assert names(making, False) == {"ENOSPC", "EACCES"}


def test_the_disk_is_followed_through_the_run() -> None:
    """The second opening finds what the first made; after the rename it is gone again; after the unlink too."""
    opening = ("openat", TEMPORARY, {"flags": CREATE})
    written = ("write", TEMPORARY, {"size": 9})
    assert "ENOSPC" in tried(trace(opening, written), TEMPORARY, "openat")
    for between, is_there in (
        (("close", TEMPORARY), True),
        (("rename", TEMPORARY, {"path2": "/w/notes.json"}), False),
        (("unlink", TEMPORARY), False),
    ):
        run = trace(opening, written, between, opening)
        known = kind.standing(clean(run), lambda path: path.replace("/w", "$CWD"))  # type: ignore[arg-type]
        assert known[3] is is_there, between


def test_a_rename_leaves_something_at_its_new_name() -> None:
    run = trace(
        ("openat", NOTES, {"flags": EXCLUSIVE}),
        ("rename", TEMPORARY, {"path2": "/w/notes.json"}),
        ("openat", NOTES, {"flags": READ}),
    )
    known = kind.standing(clean(run, {NOTES: (None,)}), lambda path: path.replace("/w", "$CWD"))  # type: ignore[arg-type]
    assert known[0] is False
    assert known[2] is True


def test_an_existing_file_that_is_opened_for_writing_is_not_refused_for_room() -> None:
    run = trace(("openat", NOTES, {"flags": TRUNCATE}), ("write", NOTES, {"size": 5}), ("close", NOTES))
    assert "ENOSPC" not in tried(run, NOTES, "openat")
    assert "ENOSPC" in tried(run, NOTES, "write")
    assert "ENOSPC" in tried(run, NOTES, "openat", versions={NOTES: (None, file())})


def test_a_file_that_was_looked_for_in_vain_is_not_tried() -> None:
    assert tried(trace(("openat", CONFIG, {"flags": READ})), versions={}) == set()


def test_the_installation_is_never_broken() -> None:
    one = clean(atomic_rewrite())
    assert not [c for c in candidates(one, calibration(None, one)) if c.path == LIBRARY]


def test_a_write_of_one_byte_is_not_cut_short() -> None:
    assert SHORT in tried(trace(("write", NOTES, {"size": 2})))
    assert SHORT not in tried(trace(("write", NOTES, {"size": 1})))
    assert SHORT not in tried(trace(("sendfile", NOTES, {"size": 100})))


def test_a_short_write_is_half_and_then_the_disk_is_full() -> None:
    operation = trace(("write", NOTES, {"size": 100}))[0]
    fault = Errno(point=Point(call="write", path=NOTES, nth=1, operation=operation), error=SHORT, persistent=True)
    first, everywhere = fault.tampers(4)
    assert str(first.rule) == "@1 return(50) -> @2+ raise(OSError: ENOSPC)"
    assert everywhere.after == 4
    assert str(everywhere.rule) == "raise(OSError: ENOSPC)"


@pytest.mark.parametrize(("error", "count"), [("ENOSPC", 2), ("EROFS", 2), ("EIO", 1), ("EACCES", 1)])
def test_only_a_full_or_read_only_disk_spreads(error: str, count: int) -> None:
    fault = Errno(point=Point(call="openat", path=NOTES, nth=2), error=error, persistent=True)
    assert len(fault.tampers(0)) == count
    assert len(Errno(point=fault.point, error=error).tampers(0)) == 1
    assert str(fault.tampers(0)[0].rule) == f"@2+ raise(OSError: {error})"


def test_the_gate_can_do_every_rule_that_is_chosen() -> None:
    one = clean(atomic_rewrite())
    found = list(candidates(one, calibration(None, one)))
    assert found
    for candidate in found:
        assert isinstance(candidate.fault, Errno)
        for tamper in candidate.fault.tampers(0):
            refuse(tamper.rule, tamper.match)


def test_recovery_is_broken_where_work_was_killed_and_never_by_a_short_write() -> None:
    one = clean(atomic_rewrite())
    late = [c for c in candidates(one, calibration(None, one)) if c.crash]
    assert {c.path for c in late} == {TEMPORARY}
    for candidate in late:
        fault = candidate.fault
        assert isinstance(fault, Errno)
        assert fault.phase == "restart"
        assert fault.error != SHORT
        assert fault.point.operation is None  # a recovery need not repeat the run
        assert candidate.crash is not None
        assert candidate.crash.phase == "run"


def test_state_comes_before_configuration() -> None:
    one = clean(trace(("write", NOTES, {"size": 9}), ("openat", CONFIG, {"flags": READ}), ("read", CONFIG)))
    best = {c.path: c.rank for c in sorted(candidates(one, calibration(None, one)), key=lambda c: c.rank, reverse=True)}
    assert best[NOTES] < best[CONFIG]


def test_texts_say_what_happens() -> None:
    point = Point(call="write", path=NOTES, nth=3)
    assert str(Errno(point=point, error="EIO")) == "write $CWD/notes.json @3 fails with EIO"
    full = Errno(point=point, error="ENOSPC", persistent=True, phase="restart")
    assert str(full) == "write $CWD/notes.json @3 fails with ENOSPC until healed during recovery"
    short = Errno(point=point, error=SHORT, persistent=True)
    assert str(short) == "write $CWD/notes.json @3 is cut short, then ENOSPC until healed"
