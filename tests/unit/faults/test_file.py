"""Kind file: each damage that makes a difference, to files that stand there and are used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.reading import FileState
from blackstart.faults.file import DAMAGES, GARBAGE_BYTES, Damage, candidates, met, spoil

from .build import CONFIG, NOTES, READ, TRUNCATE, atomic_rewrite, calibration, clean, file, trace

IN_PLACE = trace(
    ("openat", NOTES, {"flags": READ}),
    ("read", NOTES),
    ("openat", NOTES, {"flags": TRUNCATE}),
    ("write", NOTES, {"size": 9}),
)


def damages(path: str = NOTES, run: tuple[object, ...] = IN_PLACE, **versions: FileState) -> list[str]:
    standing = {NOTES: (versions.get("state", file()),)} if versions else None
    one = clean(run, standing)  # type: ignore[arg-type]
    found = [c.fault for c in candidates(one, calibration(None, one)) if c.path == path and not c.crash]
    return [fault.damage for fault in found if isinstance(fault, Damage)]


def test_a_file_that_is_written_in_place_can_be_damaged_in_every_way() -> None:
    assert sorted(damages()) == sorted(DAMAGES)


def test_what_is_never_opened_for_writing_may_be_read_only() -> None:
    assert "read-only" not in damages(run=atomic_rewrite())
    assert "read-only" not in damages(CONFIG, atomic_rewrite())


def test_an_empty_file_cannot_be_emptied() -> None:
    assert not {"empty", "truncated"} & set(damages(state=file(0)))
    assert not {"empty", "truncated"} & set(damages(state=file(1)))


def test_what_cannot_be_read_or_written_anyway_is_not_closed_again() -> None:
    assert "read-only" not in damages(state=file(mode=0o444))
    assert "unreadable" not in damages(state=file(mode=0o000))


def test_only_files_that_stand_there_and_are_used() -> None:
    one = clean(IN_PLACE, {NOTES: (None, file()), CONFIG: (file(),)})
    assert list(candidates(one, calibration(None, one))) == []


def test_logs_locks_and_scratch_are_left_alone() -> None:
    for role in ("log", "lock", "scratch", "install", ""):
        one = clean(IN_PLACE)
        assert list(candidates(one, calibration({NOTES: role}, one))) == []


def test_recovery_meets_a_truncated_file_only_where_work_can_be_killed() -> None:
    one = clean((*IN_PLACE, *trace(("read", CONFIG))))
    late = [c for c in candidates(one, calibration(None, one)) if c.crash]
    assert [(c.path, str(c.fault)) for c in late] == [(NOTES, "$CWD/notes.json is truncated during recovery")]


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_damage_differs_from_what_was_there(content: bytes, seed: int) -> None:
    assert spoil(content, "empty", seed) == b""
    half = spoil(content, "truncated", seed)
    assert content.startswith(half)
    assert len(half) == len(content) // 2
    garbage = spoil(content, "garbage", seed)
    assert len(garbage) == max(16, len(content))
    assert garbage == spoil(content, "garbage", seed)
    assert garbage != spoil(content, "garbage", seed + 1)


@pytest.mark.parametrize("size", [GARBAGE_BYTES - 1, GARBAGE_BYTES, GARBAGE_BYTES + 1, 5 * GARBAGE_BYTES + 7])
def test_garbage_is_as_long_as_the_file(size: int) -> None:
    assert len(spoil(bytes(size), "garbage", 3)) == size


def test_reading_on_and_on_at_the_early_end_of_a_file_is_counted() -> None:
    assert {"read", "pread64", "readv"} <= {tamper.match.call for tamper in met(NOTES)}


def test_watchers_change_nothing_and_mean_exactly_this_path() -> None:
    for tamper in met("$CWD/a*b"):
        assert str(tamper.rule) == "off"
        assert tamper.match.exact
