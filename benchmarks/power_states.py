"""Power cuts: candidate states a second on a recording of SQLite in WAL mode, images built a second, memory.

Run by hand: python benchmarks/power_states.py
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from blackstart.core.trace import FILE, Operation
from blackstart.power import MODELS, Builder, Explorer, Recording, Spill, StartEntry, Tape
from blackstart.testing import record

JOB = """
import os, sqlite3
con = sqlite3.connect("db", isolation_level=None)
con.execute("pragma synchronous=NORMAL")
for _ in range(12):
    con.execute("insert into t(v) values(hex(zeroblob(700)))")
    os.write(1, b"acked\\n")
"""
SECONDS = 4.0


def wal_recording(base: Path) -> Recording:
    state = base / "state"
    state.mkdir()
    with contextlib.closing(sqlite3.connect(state / "db", isolation_level=None)) as con:
        con.execute("pragma journal_mode=wal")
        con.execute("create table t(id integer primary key, v text)")
    return record([sys.executable, "-I", "-S", "-c", JOB], state=state, cwd=state)


def candidates(recording: Recording) -> None:
    for name in ("ext4", "xfs", "btrfs", "posix"):
        explorer = Explorer(recording, MODELS[name])
        began = time.perf_counter()
        for _ in explorer.states():
            if time.perf_counter() - began > SECONDS:
                break
        elapsed = time.perf_counter() - began
        rate = explorer.candidates / elapsed
        print(f"{name:6} {rate:9,.0f} candidate states/s ({explorer.candidates:,} candidates, {explorer.distinct:,} "
              f"distinct, {len(recording.micros)} micro-operations, {elapsed:.1f} s)")  # fmt: skip


def made(base: Path, size: int, count: int, piece: int) -> Recording:
    """A recording of `count` overwrites of `piece` bytes in a file of this size."""
    source = base / f"start-{size}"
    source.mkdir()
    (source / "f").write_bytes(os.urandom(size))
    start = [StartEntry("/w", "directory", mode=0o755), StartEntry("/w/f", "file", size, source=str(source / "f"))]
    tape = Tape(start, Spill(), read_now=lambda path: None)
    for index in range(count):
        data = index.to_bytes(8, "little") * (piece // 8)
        offset = index * piece % size
        tape.before(
            Operation(index=index, call="pwrite64", path="/w/f", masked="/w/f", nth=index + 1, kind=FILE, thread=1,
                      offset=offset, size=piece, data=data)
        )  # fmt: skip
    recording = tape.recording
    recording.tree.nodes[1].mode = 0o644
    return recording


def images(base: Path, size: int) -> None:
    recording = made(base, size, 5, 4096)
    place = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        shutil.copy(base / f"start-{size}" / "f", place / "f")
        builder = Builder(recording, {"/w": str(place)}, contents=recording.contents, names=recording.names)
        states = list(islice(Explorer(recording, MODELS["posix"]).states(), 32))
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS / 2:
            builder.build(states[count % len(states)])
            count += 1
        print(f"images of {size:,} bytes: {count / (time.perf_counter() - began):,.0f}/s on one core")
    finally:
        shutil.rmtree(place)


def memory(base: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recording = made(base, 64 << 20, 1024, 1 << 20)
    began, count = time.perf_counter(), 0
    for _ in Explorer(recording, MODELS["ext4"]).states():
        count += 1
        if time.perf_counter() - began > SECONDS:
            break
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"1 GB of writes: {recording.spill.bytes >> 20} MB kept on disk, {(after - before) >> 10} MB more memory, "
          f"{count} states in {SECONDS:.0f} s")  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        base = Path(work)
        candidates(wal_recording(base))
        images(base, 20_000)
        images(base, 1 << 20)
        memory(base)


if __name__ == "__main__":
    main()
