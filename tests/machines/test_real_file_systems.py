"""The models of power cuts against real file systems: what ext4, xfs and btrfs really leave is in the model's set."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest

from blackstart.power import MODELS, Recording, states
from blackstart.power.states import Explorer
from blackstart.power.tree import DIRECTORY
from blackstart.testing import record
from tests.machines.guest import NO_WRITE_BACK, Disk, Guest, Log, cuts_of

WORKLOADS = tuple(range(1, 24))
# Different cuts of one file system at least, and of one workload at most.
CUTS_MIN = int(os.environ.get("BLACKSTART_MACHINE_CUTS", "200"))
CUTS_OF_WORKLOAD_MAX = 30

pytestmark = [
    pytest.mark.machines,
    pytest.mark.timeout(3600),
    pytest.mark.needs("qemu-system-x86_64", "mkfs.xfs", "mkfs.btrfs", "mkfs.ext4", "cpio", "busybox", "gcc"),
]


def start_state(place: Path) -> None:
    place.mkdir()
    (place / "a").write_bytes(b"A" * 12288)
    (place / "d").write_bytes(b"d" * 100)
    (place / "log").write_bytes(b"L" * 5000)


def possible(recording: Recording, system: str) -> set[str]:
    """What a cut may leave by the model, as the guest writes it."""
    (root,), nodes = recording.tree.roots, recording.tree.nodes
    found = set()
    for name in (system, "kill9"):
        explorer = Explorer(recording, MODELS[name])
        touched = explorer.names.start
        same = {e.path: shown(Path(e.source).read_bytes()) for e in recording.start if e.source}
        same = {path: text for path, text in same.items() if path not in touched}
        for state in explorer.states():
            entries = dict(same)
            for path, inode in explorer.names.layout(state.mask).items():
                if nodes[inode].kind == DIRECTORY:
                    entries[path + "/"] = ""
                else:
                    entries[path] = shown(recording.contents.content(inode, state.mask, state.garbage))
            found.add(" ".join(f"{path.removeprefix(root + '/')}{text}" for path, text in sorted(entries.items())))
    return found


def shown(data: bytes) -> str:
    return f":{len(data)}:{zlib.crc32(data):08x}"


@pytest.fixture(scope="module")
def recordings(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Recording]:
    base = tmp_path_factory.mktemp("runs")
    start_state(base / "start")
    found = {}
    for workload in WORKLOADS:
        place = base / f"run-{workload}"
        shutil.copytree(base / "start", place)
        found[workload] = record([str(guest.program), "work", str(workload), str(place), "0"], state=place)
        assert not found[workload].uncovered, workload
    return found


@pytest.mark.parametrize("system", ["ext4", "xfs", "btrfs"])
def test_every_real_state_is_in_the_models_set(
    system: str, guest: Guest, recordings: dict[int, Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "EXHAUSTIVE_BITS", 14)
    start_state(tmp_path / "start")
    disks = [Disk(system, workload) for workload in WORKLOADS]
    bases = {disk.name: guest.make(disk, tmp_path / "start") for disk in disks}
    logged = guest.record(disks, bases)
    logs = []
    for disk in disks:
        entries = logged[disk.name]
        logs.append(Log(bases[disk.name], entries, cuts_of(entries, CUTS_OF_WORKLOAD_MAX, seed=disk.workload)))
    misses = []
    for disk, log, seen in zip(disks, logs, guest.pictures(system, logs), strict=True):
        allowed = possible(recordings[disk.workload], system)
        counts = f"{len(log.entries)} writes, {len(log.cuts)} cuts, {len(set(seen))} states, {len(allowed)} allowed"
        print(f"{system:5} workload {disk.workload}: {counts}")
        for one in sorted(set(seen) - allowed):
            misses.append(f"{disk.name}: {one} after {log.cuts[seen.index(one)]}")
    total = sum(len(log.cuts) for log in logs)
    print(f"{system:5} {total} cuts")
    assert total >= CUTS_MIN, "lengthen the workloads, or add some"
    assert not misses, "\n".join(misses)


@pytest.mark.parametrize("system", ["ext4", "xfs", "btrfs"])
def test_zeros_stand_where_a_file_grew_in_its_last_block_by_the_model_as_really(
    system: str, guest: Guest, tmp_path: Path
) -> None:
    """What is appended there is not written back yet when a commit, for another file's sake, has the new size."""
    start_state(tmp_path / "start")
    disk = Disk(system, 21)
    bases = {disk.name: guest.make(disk, tmp_path / "start")}
    logged = guest.record([disk], bases, first=NO_WRITE_BACK)[disk.name]
    (seen,) = guest.pictures(system, [Log(bases[disk.name], logged, cuts_of(logged, CUTS_OF_WORKLOAD_MAX, seed=1))])
    zeros = f"log{shown(b'L' * 5000 + bytes(2000))}"
    assert any(zeros in one.split() for one in seen) == MODELS[system].zero_tail, set(seen)


def test_btrfs_keeps_a_renamed_reference_without_the_link_that_it_leads_to_by_the_model_as_really(
    guest: Guest, recordings: dict[int, Recording], tmp_path: Path
) -> None:
    """A commit falls between the sync of an object and its link: the log knows the object no more, and a later sync
    takes the renamed reference along, but not the link.
    """
    start_state(tmp_path / "start")
    disk = Disk("btrfs", 22)
    bases = {disk.name: guest.make(disk, tmp_path / "start")}
    # Else each second's commit by the timer has all.
    logged = guest.record([disk], bases, pause_ms=1)[disk.name]
    (seen,) = guest.pictures("btrfs", [Log(bases[disk.name], logged, cuts_of(logged, CUTS_OF_WORKLOAD_MAX, seed=1))])

    def is_torn(one: str) -> bool:
        entries = one.split()
        return f"d{shown(b'O' * 41)}" in entries and not any(entry.startswith("obj/o") for entry in entries)

    assert any(map(is_torn, seen)), set(seen)
    assert any(map(is_torn, possible(recordings[22], "btrfs")))
    assert not any(map(is_torn, possible(recordings[22], "ext4")))
