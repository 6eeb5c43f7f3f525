"""Versions of a clean run, read at its boundaries."""

from __future__ import annotations

import json
import os
from typing import Any

from blackstart.core.calibration import Mask
from blackstart.core.masking import UNREAD, Masker, rooted
from blackstart.core.reading import FileState
from blackstart.core.trace import Operation
from blackstart.probes.content import read
from blackstart.surface import VersionReader, Versions, boundary_rerun
from blackstart.surface.versions import READINGS_PER_FILE

A, TEMP, DB = "/w/a.json", "/w/a.json.new", "/w/a.db"
CREATE, TRUNCATE, APPEND, WRITE = os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_WRONLY


class World:
    """A disk and the reader that watches operations on it: each is announced first, then carried out."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.files = dict(files or {})
        self.asked: list[str] = []
        self.reader = VersionReader(self.read, {p: s for p in self.files if (s := self.state(p)) is not None})

    def state(self, path: str) -> FileState | None:
        if path not in self.files:
            return None
        data = self.files[path].encode()
        content = read(data, path)
        return FileState(path=path, size=len(data), digest=content.digest, content=content)

    def read(self, path: str) -> FileState | None:
        self.asked.append(path)
        return self.state(path)

    def do(self, call: str, path: str = "", *, thread: int = 1, process: int = 1, **changes: Any) -> None:
        changes.setdefault("kind", "file")
        self.reader.before(Operation(index=0, call=call, path=path, thread=thread, process=process, **changes))

    def open(self, path: str, flags: int = WRITE | CREATE | TRUNCATE) -> None:
        self.do("openat", path, flags=flags)
        if flags & TRUNCATE:
            self.files[path] = ""

    def write(self, path: str, text: str) -> None:
        self.do("write", path, size=len(text), data=text.encode())
        self.files[path] = self.files.get(path, "") + text

    def rename(self, old: str, new: str) -> None:
        self.do("rename", old, path2=new)
        self.files[new] = self.files.pop(old)

    def say(self, text: str) -> None:
        self.do("write", "stdout", kind="pipe", data=text.encode(), size=len(text))

    def save(self, path: str, value: object) -> None:
        self.open(path)
        self.write(path, json.dumps(value))
        self.do("close", path)

    def finish(self) -> Versions:
        return self.reader.finish({p: s for p in self.files if (s := self.state(p)) is not None})

    def seen(self, path: str = A) -> list[str | None]:
        return [
            None if s is None else s.kind if s.content is None else dict(s.content.leaves).get("/", s.content.error)
            for s in self.finish().versions[path]
        ]


def test_each_close_of_a_writer_is_a_version_and_none_in_between() -> None:
    world = World()
    for number in (1, 2, 3):
        world.save(A, number)
    assert world.seen() == [None, "1", "2", "3"]


def test_what_a_shell_has_only_opened_and_given_another_number_is_no_version() -> None:
    world = World({A: "1"})
    world.open(A)  # > FILE: opened as 3, made 1, 3 closed, and only then written
    world.do("dup2", A)
    world.do("close", A)
    world.write(A, "2")
    world.do("dup2", "/dev/tty")  # 1 is again what it was, so the file is closed
    world.do("getpid")
    world.files[A] = "3"
    assert world.seen() == ["1", "2", "3"]


def test_a_rename_onto_a_file_is_a_version() -> None:
    world = World({A: "1"})
    world.open(TEMP)
    world.write(TEMP, "2")
    world.rename(TEMP, A)
    world.do("getpid")
    world.open(A)  # the next change reads what the rename left, whatever has been read before
    world.write(A, "3")
    assert world.seen() == ["1", "2", "3"]


def test_a_file_that_stays_open_has_versions_at_its_syncs() -> None:
    world = World()
    world.open(A)
    world.write(A, "1")
    world.do("fsync", A)
    world.write(A, "2")
    assert world.seen() == [None, "1", "12"]


def test_another_thread_does_not_make_a_boundary_be_read_too_early() -> None:
    world = World({A: "1"})
    world.open(TEMP)
    world.write(TEMP, "2")
    world.do("rename", TEMP, path2=A)  # still waits in the kernel while another thread goes on
    world.do("write", "/w/log", thread=2)
    world.files[A] = world.files.pop(TEMP)
    world.do("close", "/w/x")
    world.do("rename", "/w/elsewhere", path2="/w/there")
    world.files[A] = "3"  # by a way that nobody saw, so that only a reading at the right moment knows of the 2
    assert world.seen() == ["1", "2", "3"]


def test_half_written_contents_are_no_versions() -> None:
    world = World({A: "[1]"})
    world.open(A)
    world.write(A, "[1, ")
    world.say("saving\n")
    world.write(A, "2]")
    world.do("close", A)
    found = world.finish()
    assert len(found.versions[A]) == 2
    assert found.acknowledgements[0].versions.get(A, 0) == 0


def test_an_output_event_acknowledges_what_stands_on_the_disk_then() -> None:
    world = World()
    world.say("begin\n")
    world.save(A, 1)
    world.say("saved 1\n")
    world.save(A, 2)
    world.say("saved 2\nsaved all\n")
    found = world.finish()
    assert [event.nth for event in found.acknowledgements] == [1, 2, 3, 4]
    # Of two lines that left together only the last acknowledges: they were buffered.
    assert [event.versions.get(A, 0) for event in found.acknowledgements] == [0, 1, 1, 2]


def test_the_commit_of_a_database_is_a_version_of_the_database() -> None:
    world = World({DB: "1"})
    world.open(f"{DB}-journal")
    world.do("pwrite64", DB)
    world.files[DB] = "2"
    world.do("unlink", f"{DB}-journal")
    world.do("getpid")
    assert DB in world.asked and f"{DB}-journal" not in world.asked


def test_a_transaction_in_a_write_ahead_log_is_a_version_though_nothing_is_synced() -> None:
    world = World({DB: "1"})
    world.open(f"{DB}-wal", flags=WRITE | CREATE)
    for value, header in (("half", bytes(8)), ("2", bytes(7) + b"\5")):  # only the second one ends a transaction
        world.do("pwrite64", f"{DB}-wal", size=24, data=header)
        world.files[DB] = value
        world.do("pwrite64", f"{DB}-wal", size=4096)
    world.do("getpid")
    kept = [state.content.leaves for state in world.finish().versions[DB] if state and state.content]
    assert kept == [(("1", "1"),), (("1", "2"),)]


def test_only_changed_files_are_read() -> None:
    world = World({A: "1", "/w/other": "x"})
    for _ in range(50):
        world.say("working\n")
    assert world.asked == []


def test_gaps_are_marked_where_there_are_too_many_versions() -> None:
    world = World()
    for number in range(READINGS_PER_FILE * 2):
        world.save(A, number)
    kinds = [None if s is None else s.kind for s in world.finish().versions[A]]
    assert kinds.count(UNREAD) == 1 and kinds[-1] == "file"
    assert len(world.asked) <= READINGS_PER_FILE


def test_versions_settle_where_no_changed_file_is_half_written() -> None:
    world = World()
    world.open("/w/log", WRITE | CREATE | APPEND)
    world.write("/w/log", "began\n")
    world.open(A)
    world.write(A, "1")
    assert world.reader.settled_versions == 0
    world.do("close", A)
    world.do("getpid")
    assert world.reader.settled_versions == 1
    world.open(TEMP)
    world.write(TEMP, "2")
    world.do("getpid")
    world.open(A)
    world.write(A, "3")
    world.do("fsync", A)
    world.do("getpid")
    assert world.reader.settled_versions == 1  # the temporary file is half written


def test_the_end_of_a_process_closes_its_files() -> None:
    world = World()
    world.open(A)
    world.write(A, "1")
    world.do("exit_group")
    world.open(A)
    world.write(A, "2")
    assert world.seen() == [None, "1", "2"]


def test_masked_versions_share_a_name_but_acknowledge_nothing_then() -> None:
    mask = rooted(Mask(names=((r"^\$CWD/p\-[0-9]+(?=/|$)", "$CWD/p-*"),)), "/w", "")
    world = World()
    world.save("/w/p-1", 1)
    world.save("/w/p-2", 2)
    world.save(A, 3)
    world.say("done\n")
    found = world.finish().masked(Masker(mask))
    assert set(found.versions) == {"$CWD/p-*", "$CWD/a.json"}
    assert found.acknowledgements[0].versions == {"$CWD/a.json": 1}


def test_a_boundary_rerun_holds_both_ends() -> None:
    before, after = World({A: "1", "/w/b": "x"}), World({A: "2"})
    images = [{p: s for p in w.files if (s := w.state(p)) is not None} for w in (before, after)]
    entry = boundary_rerun(*images, Masker(rooted(Mask(), "/w", "")), ["$CWD/a.json", "$CWD/b"])
    assert set(entry) == {"$CWD/a.json", "before:$CWD/a.json", "before:$CWD/b"}


def test_an_answer_on_a_socket_reads_but_only_lines_are_counted() -> None:
    world = World({A: "[1]"})
    world.do("accept4", "socket:inet:0.0.0.0:80", kind="socket")
    world.open(A)
    world.write(A, "[2]")
    world.do("sendto", "socket:", kind="socket", data=b"saved")
    world.say("saved\n")
    found = world.reader.finish({A: world.state(A)})
    assert [event.versions[A] for event in found.acknowledgements] == [1]
