"""A sync that reports an error: what the disk holds afterwards, and what the file reads as."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blackstart.core.trace import FILE, Operation
from blackstart.power import MODELS, Failing, Recording, Spill, Tape, scan

OLD = b"o" * 5000


class Program:
    """Writes to one file, telling the tape beforehand; its first fsync fails."""

    def __init__(self, tmp_path: Path, name: str) -> None:
        start, self.root = tmp_path / "start", tmp_path / "work"
        for place in (start, self.root):
            place.mkdir()
            (place / "f").write_bytes(OLD)
        self.file = self.root / "f"
        entries = [
            type(e)(path=e.path.replace(str(start), str(self.root)), kind=e.kind, size=e.size, source=e.source)
            for e in scan({str(start): str(start)})
        ]
        failing = Failing(
            is_it=lambda o: o.call == "fsync" and o.nth == 1, model=MODELS[name], make_read=self.make_read
        )
        self.tape = Tape(entries, Spill(), read_now=lambda path: Path(path).read_bytes(), failing=failing)
        self.model = name
        self.syncs = 0

    @staticmethod
    def make_read(path: str, content: bytes) -> None:
        Path(path).write_bytes(content)

    def tell(self, call: str, **more: object) -> None:
        fields = {"path": str(self.file), "masked": "f", "kind": FILE, "thread": 1} | more
        self.tape.before(Operation(index=0, call=call, **fields))  # type: ignore[arg-type]

    def write(self, offset: int, data: bytes) -> None:
        self.tell("pwrite64", offset=offset, size=len(data), data=data)
        with open(self.file, "r+b") as file:
            os.pwrite(file.fileno(), data, offset)

    def truncate(self, size: int) -> None:
        self.tell("truncate", size=size)
        os.truncate(self.file, size)

    def sync(self) -> None:
        self.syncs += 1
        self.tell("fsync", nth=self.syncs)

    def sure(self) -> bytes:
        """What the file holds for certain in the end."""
        recording = self.tape.finish()
        assert recording.is_failing and not recording.uncovered
        mask = recording.order(MODELS[self.model]).sure(len(recording.micros))
        return recording.contents.content(self.inode(recording), mask)

    def inode(self, recording: Recording) -> int:
        node = recording.tree.node(str(self.file))
        assert node is not None
        return node.number


@pytest.mark.parametrize("name", ["fsync-fails", "fsync-fails-btrfs"])
def test_a_second_fsync_that_works_does_not_bring_back_what_the_first_one_dropped(tmp_path: Path, name: str) -> None:
    program = Program(tmp_path, name)
    program.write(0, b"n" * 100)
    program.sync()
    program.sync()
    assert program.sure() == OLD


def test_what_was_synced_before_stays(tmp_path: Path) -> None:
    program = Program(tmp_path, "fsync-fails")
    program.syncs = 1
    program.write(0, b"1")
    program.sync()
    program.syncs = 0
    program.write(1, b"2")
    program.sync()
    program.sync()
    assert program.sure() == b"1" + OLD[1:]


def test_new_blocks_hold_zeros_and_the_size_stays(tmp_path: Path) -> None:
    program = Program(tmp_path, "fsync-fails")
    program.write(8192, b"n" * 100)
    program.sync()
    program.sync()
    assert program.sure() == OLD + bytes(8292 - 5000)


def test_a_page_that_is_written_again_takes_along_what_was_dropped_of_it_and_only_that(tmp_path: Path) -> None:
    program = Program(tmp_path, "fsync-fails")
    program.write(0, b"a" * 10)
    program.write(4090, b"b" * 12)
    program.sync()
    program.write(20, b"c")
    program.sync()
    expected = bytearray(OLD)
    expected[0:10], expected[20:21], expected[4090:4096] = b"a" * 10, b"c", b"b" * 6
    assert program.sure() == bytes(expected)


def test_writing_everything_again_is_safe(tmp_path: Path) -> None:
    program = Program(tmp_path, "fsync-fails")
    program.write(0, b"n" * 9000)
    program.sync()
    program.truncate(0)
    program.write(0, b"m" * 8000)
    program.sync()
    assert program.sure() == b"m" * 8000


def test_btrfs_lets_the_file_read_as_before(tmp_path: Path) -> None:
    program = Program(tmp_path, "fsync-fails-btrfs")
    program.write(0, b"n" * 9000)
    program.sync()
    assert program.file.read_bytes() == OLD
    program.write(5000, b"m")
    program.sync()
    assert program.sure() == OLD + b"m"
