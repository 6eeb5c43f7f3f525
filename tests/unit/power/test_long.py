"""Recordings of very many changes, whose cost is bounded and what is left out said; and of calls that fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.core.trace import FILE, Operation
from blackstart.power import MODELS, Contents, Explorer, Recording, Spill, StartEntry, Tape, recording
from blackstart.power.states import cuts


def renamed(tmp_path: Path, count: int) -> Recording:
    """The recording of a program that renames this many files."""
    for number in range(count):
        (tmp_path / f"f{number}").write_bytes(b"")
    start = [StartEntry("/w", "directory"), *(StartEntry(f"/w/f{n}", "file") for n in range(count))]
    tape = Tape(start, Spill(), read_now=lambda path: b"" if (tmp_path / path[3:]).exists() else None)
    for number in range(count):
        path, path2 = f"/w/f{number}", f"/w/r{number}"
        tape.before(Operation(index=number, call="rename", path=path, path2=path2, masked=path, kind=FILE, thread=1))
        os.rename(tmp_path / f"f{number}", tmp_path / f"r{number}")
    return tape.finish()


def test_only_the_first_of_very_many_changes_are_cut_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "STEPS_MAX", 7)
    found = renamed(tmp_path, 5)
    assert len(found.micros) == 6, "no rename is taken apart"
    assert found.last_cut == 4 and "more than 7 changes" in found.uncovered["/w"]
    hot, calls, inner = cuts(found)
    assert sorted({*hot, *calls, *inner}) == [0, 1, 2, 3, 4]
    for name in ("kill9", "ext4", "btrfs", "posix"):
        states = list(Explorer(found, MODELS[name]).states())
        assert states and all(s.cut <= 4 and found.order(MODELS[name]).is_possible(s.cut, s.mask) for s in states)


def test_few_changes_are_all_cut(tmp_path: Path) -> None:
    found = renamed(tmp_path, 3)
    assert found.last_cut == len(found.micros) == 6 and not found.uncovered
    assert max(max(cuts(found)[0]), max(cuts(found)[1])) == 6


def test_the_proof_at_the_end_looks_at_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    whole = Contents.extend

    def counted(self: Contents) -> None:
        before = self._taken
        whole(self)
        taken.append(self._taken - before)

    monkeypatch.setattr(Contents, "extend", counted)
    found = renamed(tmp_path, 20)
    assert sum(taken) == len(found.micros) and len(taken) > 20


def test_a_rename_into_a_directory_that_is_not_there_has_failed(tmp_path: Path) -> None:
    start = [StartEntry("/w", "directory"), StartEntry("/w/f", "file")]
    tape = Tape(start, Spill(), read_now=lambda path: b"")
    tape.before(Operation(index=0, call="rename", path="/w/f", path2="/w/none/f", masked="f", kind=FILE, thread=1))
    assert not tape.recording.micros
    tape.before(Operation(index=1, call="rename", path="/w/f", path2="/elsewhere/f", masked="f", kind=FILE, thread=1))
    assert len(tape.recording.micros) == 1
