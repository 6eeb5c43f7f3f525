"""What is stored through a mapping is an operation of its own, which names the file; so is the msync after it."""

from __future__ import annotations

from pathlib import Path

from blackstart.core.trace import FILE, Operation
from blackstart.power import Spill, StartEntry, Tape, scan

MS_SYNC = 4


def test_what_is_stored_and_synced_through_a_mapping_names_its_file(tmp_path: Path) -> None:
    start, root = tmp_path / "start", tmp_path / "work"
    for place in (start, root):
        place.mkdir()
        (place / "db").write_bytes(bytes(8192))
    file = root / "db"
    entries = [
        StartEntry(path=e.path.replace(str(start), str(root)), kind=e.kind, size=e.size, source=e.source)
        for e in scan({str(start): str(start)})
    ]
    tape = Tape(entries, Spill(), read_now=lambda one: Path(one).read_bytes())
    tape.before(Operation(index=0, call="mmap", path=str(file), masked="$CWD/db", kind=FILE, thread=1, process=1))
    file.write_bytes(b"x" * 4096 + bytes(4096))
    tape.before(Operation(index=1, call="msync", flags=MS_SYNC, thread=1, process=1))
    found = [(one.call, one.path, one.masked) for one in tape.finish().operations]
    assert found == [("mapping", str(file), "$CWD/db"), ("msync", str(file), "$CWD/db")]
