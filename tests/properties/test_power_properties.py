"""The models of power cuts, against random programs whose calls are really made in a directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blackstart.core.trace import DIRECTORY, FILE, Operation
from blackstart.power import DATA, MODELS, OUTPUT, SYNC, Builder, Explorer, Recording, Spill, State, Tape, scan
from blackstart.power.micro import EVERYTHING

NAMES = ("a", "b", "sub/c", "d", "sub/deep/e")
DIRECTORIES = (".", "sub", "sub/deep", "new")
WEAKER = (("ext4", "posix"), ("xfs", "posix"), ("btrfs", "posix"), ("kill9", "posix"), ("ext4", "ext3-writeback"),
          ("kill9", "ext4"), ("kill9", "xfs"), ("kill9", "btrfs"), ("ext4", "fsync-lies"),
          ("ext3-writeback", "posix"))  # fmt: skip

name = st.sampled_from(NAMES)
size = st.one_of(st.integers(1, 300), st.integers(4000, 13000))
step = st.one_of(
    st.tuples(st.just("open"), name, st.sampled_from([os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_EXCL])),
    st.tuples(st.just("write"), name, st.integers(0, 9000), size),
    st.tuples(st.just("append"), name, size),
    st.tuples(st.just("truncate"), name, st.integers(0, 12000)),
    st.tuples(st.just("fallocate"), name, st.integers(0, 9000), size),
    st.tuples(st.just("rename"), name, name),
    st.tuples(st.just("link"), name, name),
    st.tuples(st.just("unlink"), name),
    st.tuples(st.just("symlink"), name),
    st.tuples(st.just("mkdir"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("rmdir"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("fsync"), name),
    st.tuples(st.just("fdatasync"), name),
    st.tuples(st.just("fsync"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("sync")),
    st.tuples(st.just("say")),
)
programs = st.lists(step, min_size=1, max_size=14)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Machine:
    """Makes each call for real, and tells the tape of it just before, as the gate would."""

    def __init__(self, base: str) -> None:
        self.start, self.root, self.disk = f"{base}/start", f"{base}/work", f"{base}/disk"
        for place in (self.start, self.root, self.disk):
            os.makedirs(f"{place}/sub/deep")
            Path(place, "a").write_bytes(b"old a" * 1000)
            Path(place, "d").write_bytes(b"old d")
        entries = [
            entry
            if not entry.source
            else type(entry)(path=entry.path, kind=entry.kind, size=entry.size, mode=entry.mode, source=entry.source)
            for entry in scan({self.root: self.start})
        ]
        self.tape = Tape(entries, Spill(), read_now=self.read, look_now=self.look)
        self.count = 0

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except OSError:
            return None

    def look(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(path)
        except OSError:
            return None

    def tell(self, call: str, path: str, **more: object) -> None:
        self.count += 1
        fields = {"kind": FILE, "thread": 1, "process": 1, "masked": path, "nth": self.count} | more
        self.tape.before(Operation(index=self.count, call=call, path=path, **fields))  # type: ignore[arg-type]

    def do(self, verb: str, *arguments: object) -> None:
        path = os.path.normpath(f"{self.root}/{arguments[0]}") if arguments else ""
        try:
            getattr(self, "do_" + verb)(path, *arguments[1:])
        except OSError:
            pass

    def do_open(self, path: str, flags: int) -> None:
        self.tell("openat", path, flags=flags | os.O_RDWR)
        os.close(os.open(path, flags | os.O_RDWR, 0o644))

    def _write(self, path: str, offset: int, length: int, *, append: bool) -> None:
        descriptor = os.open(path, os.O_RDWR)
        try:
            data = bytes((self.count * 7 + i) % 251 for i in range(length))
            offset = os.fstat(descriptor).st_size if append else offset
            self.tell("pwrite64", os.path.realpath(path), offset=offset, size=length, data=data)
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)

    def do_write(self, path: str, offset: int, length: int) -> None:
        self._write(path, offset, length, append=False)

    def do_append(self, path: str, length: int) -> None:
        self._write(path, 0, length, append=True)

    def do_truncate(self, path: str, length: int) -> None:
        self.tell("truncate", path, size=length)
        os.truncate(path, length)

    def do_fallocate(self, path: str, offset: int, length: int) -> None:
        descriptor = os.open(path, os.O_RDWR)
        try:
            self.tell("fallocate", os.path.realpath(path), offset=offset, size=length, flags=0)
            os.posix_fallocate(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def do_rename(self, path: str, target: str) -> None:
        onto = os.path.normpath(f"{self.root}/{target}")
        if self.root in (path, onto):
            return
        self.tell("rename", path, path2=onto)
        os.rename(path, onto)

    def do_link(self, path: str, target: str) -> None:
        onto = f"{self.root}/{target}"
        self.tell("linkat", path, path2=onto)
        os.link(path, onto, follow_symlinks=False)

    def do_unlink(self, path: str) -> None:
        self.tell("unlink", path)
        os.unlink(path)

    def do_symlink(self, path: str) -> None:
        self.tell("symlink", path, path2="a")
        os.symlink("a", path)

    def do_mkdir(self, path: str) -> None:
        self.tell("mkdir", path, kind=DIRECTORY)
        os.mkdir(path)

    def do_rmdir(self, path: str) -> None:
        if path != self.root:
            self.tell("rmdir", path, kind=DIRECTORY)
            os.rmdir(path)

    def _sync(self, call: str, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            kind = DIRECTORY if os.path.isdir(path) else FILE
            self.tell(call, os.path.realpath(path), kind=kind)
        finally:
            os.close(descriptor)

    def do_fsync(self, path: str) -> None:
        self._sync("fsync", path)

    def do_fdatasync(self, path: str) -> None:
        self._sync("fdatasync", path)

    def do_sync(self, path: str) -> None:
        self.tell("sync", "")

    def do_say(self, path: str) -> None:
        self.tell("write", "stdout", kind="pipe", data=b"done\n")


@contextmanager
def recorded(program: list[tuple[object, ...]]) -> Iterator[tuple[Recording, Machine]]:
    base = tempfile.mkdtemp(prefix="blackstart-power-test-")
    try:
        machine = Machine(base)
        for verb, *arguments in program:
            machine.do(str(verb), *arguments)
        recording = machine.tape.finish()
        yield recording, machine
        recording.spill.close()
    finally:
        shutil.rmtree(base)


def picture(root: str) -> dict[str, object]:
    """Everything below a directory: bytes, link targets, and which files are one."""
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for place, directories, files in sorted(os.walk(root)):
        for entry in sorted((*directories, *files)):
            path = f"{place}/{entry}"
            name = path.removeprefix(root)
            if os.path.islink(path):
                found[name] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[name] = "directory"
            else:
                found[name] = (Path(path).read_bytes(), inodes.setdefault(os.stat(path).st_ino, name))
    return found


def whole(recording: Recording) -> State:
    order = recording.order(MODELS["kill9"])
    return State(len(recording.micros), order.effects)


@few
@given(programs)
def test_replaying_everything_gives_the_real_directory(program: list[tuple[object, ...]]) -> None:
    with recorded(program) as (recording, machine):
        assert not recording.uncovered
        builder = Builder(recording, {machine.root: machine.disk}, contents=recording.contents, names=recording.names)
        builder.build(whole(recording))
        builder.close()
        assert picture(machine.disk) == picture(machine.root)


@few
@given(programs)
def test_building_one_state_after_the_other_is_building_each_from_the_start(program: list[tuple[object, ...]]) -> None:
    with recorded(program) as (recording, machine):
        parts = {"contents": recording.contents, "names": recording.names}
        builder = Builder(recording, {machine.root: machine.disk}, **parts)
        for state in islice(Explorer(recording, MODELS["posix"]).states(), 12):
            builder.build(state)
            shutil.rmtree(machine.root)
            shutil.copytree(machine.start, machine.root, symlinks=True)
            once = Builder(recording, {machine.root: machine.root}, **parts)
            once.build(state)
            once.close()
            assert picture(machine.disk) == picture(machine.root)
        builder.close()


@few
@given(programs)
def test_a_weaker_model_allows_what_a_stronger_one_does(program: list[tuple[object, ...]]) -> None:
    with recorded(program) as (recording, _):
        for strong, weak in WEAKER:
            order = recording.order(MODELS[weak])
            for state in islice(Explorer(recording, MODELS[strong]).states(), 60):
                assert order.is_possible(state.cut, state.mask), (strong, weak, state)


@few
@given(programs)
def test_every_state_made_is_one_that_the_model_allows(program: list[tuple[object, ...]]) -> None:
    with recorded(program) as (recording, _):
        for model in MODELS.values():
            order = recording.order(model)
            for state in islice(Explorer(recording, model).states(), 60):
                assert order.is_possible(state.cut, state.mask), (model.name, state)


@few
@given(programs)
def test_what_a_whole_sync_covers_is_in_every_later_state(program: list[tuple[object, ...]]) -> None:
    """Where it does not empty the disk's own cache, all but overwritten blocks; the next fsync takes them along."""
    with recorded([*program, ("sync",), ("fsync", "a")]) as (recording, _):
        for model in MODELS.values():
            if model.syncs == "kept":
                order, end = recording.order(model), len(recording.micros)
                last = max(m.index for m in recording.micros if m.kind == SYNC and m.name == EVERYTHING)
                left = order.effects & ((1 << last) - 1) & ~order.sure(last + 1)
                overwrites = [m for m in recording.micros if left >> m.index & 1]
                assert all(m.kind == DATA and not m.is_new for m in overwrites)
                assert not (left and model.sync_flushes)
                if any(m.kind == SYNC and m.index > last for m in recording.micros):
                    assert order.sure(end) == order.effects


@few
@given(programs, name)
def test_a_file_synced_with_its_directories_is_in_every_later_state(
    program: list[tuple[object, ...]], path: str
) -> None:
    parents = [str(p) for p in Path(path).parents]
    safe = [("fsync", path), *(("fsync", p) for p in parents), ("say",)]
    with recorded([*program, *safe]) as (recording, machine):
        place = os.path.realpath(f"{machine.root}/{path}")
        if not os.path.isfile(place):
            return
        expected = Path(place).read_bytes()
        for model in MODELS.values():
            if model.syncs != "kept":
                continue
            explorer = Explorer(recording, model)
            last = next(i for i in reversed(range(len(recording.micros))) if recording.micros[i].kind == OUTPUT)
            for state in islice(explorer.states(only_cuts=[last, last + 1]), 60):
                inode = explorer.names.layout(state.mask).get(place)
                if inode is None:  # untouched, so not of interest
                    assert place not in explorer.names.start
                    assert all(m.kind == SYNC or m.inode < 0 or place not in str(m) for m in recording.micros)
                    continue
                assert explorer.contents.content(inode, state.mask, state.garbage) == expected
