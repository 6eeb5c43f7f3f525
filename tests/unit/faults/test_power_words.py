"""What a power cut is told as: which of the missing bytes had been appended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.core.history import Cut
from blackstart.core.trace import FILE, Operation
from blackstart.faults.power import describe
from blackstart.power import MODELS, Recording, Spill, Tape, crash_states, scan


def recorded(tmp_path: Path, *, empties: bool) -> Recording:
    """A program that opens a file for appending, empties it perhaps, and writes one line."""
    start, root = tmp_path / "start", tmp_path / "work"
    for place in (start, root):
        place.mkdir()
        (place / "f").write_bytes(b"old\n")
    path = str(root / "f")
    entries = [
        type(e)(path=e.path.replace(str(start), str(root)), kind=e.kind, size=e.size, source=e.source)
        for e in scan({str(start): str(start)})
    ]
    tape = Tape(entries, Spill(), read_now=lambda one: Path(one).read_bytes())
    known = {"path": path, "masked": "f", "kind": FILE, "thread": 1, "status": os.O_APPEND | os.O_WRONLY}
    if empties:
        tape.before(Operation(index=0, call="ftruncate", size=0, **known))  # type: ignore[arg-type]
        os.truncate(path, 0)
    size = os.path.getsize(path)
    tape.before(Operation(index=1, call="write", size=4, data=b"new\n", offset=size, **known))  # type: ignore[arg-type]
    with open(path, "ab") as file:
        file.write(b"new\n")
    return tape.finish()


@pytest.mark.parametrize("empties", [False, True])
def test_who_empties_a_file_that_is_open_for_appending_does_not_append(tmp_path: Path, empties: bool) -> None:
    recording = recorded(tmp_path, empties=empties)
    assert not recording.uncovered
    told = [describe(recording, state) for state in crash_states(recording, MODELS["xfs"])]
    assert {cut.appended for cut in told if _misses_the_line(cut)} == {not empties}


def _misses_the_line(cut: Cut) -> bool:
    return bool(cut.lost_kinds) and set(cut.lost_kinds) <= {"data", "grow"}
