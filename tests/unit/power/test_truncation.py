"""A file cut short within a block: the zeros in the rest of that block may be on the disk before the new size is.

Real ext4 and XFS showed it, in a guest (tests/machines).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.core.trace import FILE, Operation
from blackstart.power import MODELS, Explorer, Recording, Spill, Tape, crash_states, scan

OLD = b"L" * 5000
TORN = OLD[:1000] + bytes(3096) + OLD[4096:]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    start, root = tmp_path / "start", tmp_path / "work"
    for place in (start, root):
        place.mkdir()
        (place / "log").write_bytes(OLD)
    path = str(root / "log")
    entries = [
        type(e)(path=e.path.replace(str(start), str(root)), kind=e.kind, size=e.size, source=e.source)
        for e in scan({str(start): str(start)})
    ]
    tape = Tape(entries, Spill(), read_now=lambda one: Path(one).read_bytes())
    tape.before(Operation(index=0, call="truncate", path=path, masked="log", kind=FILE, thread=1, size=1000))
    os.truncate(path, 1000)
    finished = tape.finish()
    assert not finished.uncovered
    return finished


@pytest.mark.parametrize(("name", "may_tear"), [("ext4", True), ("xfs", True), ("posix", True), ("btrfs", False)])
def test_zeros_may_reach_the_disk_before_the_size(recording: Recording, name: str, may_tear: bool) -> None:
    inode = recording.micros[0].inode
    seen = {recording.contents.content(inode, s.mask, s.garbage) for s in crash_states(recording, MODELS[name])}
    assert seen == {OLD, OLD[:1000]} | ({TORN} if may_tear else set())


def test_no_more_candidates_are_looked_at_than_asked_for(recording: Recording) -> None:
    whole = Explorer(recording, MODELS["ext4"])
    found = list(whole.states())
    assert whole.candidates > 2 and len(found) > 1
    few = Explorer(recording, MODELS["ext4"], limit=2)
    assert list(few.states()) == found[: few.distinct] and few.candidates == 2
