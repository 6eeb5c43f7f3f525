"""The models of power cuts against real file systems: what ext4, xfs and btrfs really leave is in the model's set."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from blackstart.power import MODELS, Recording, states
from blackstart.power.states import Explorer
from blackstart.testing import record
from tests.machines.guest import Disk, Guest, cuts_of

SYSTEMS = ("ext4", "xfs", "btrfs")
WORKLOADS = (1, 2, 3, 4, 5, 6)
CUTS = int(os.environ.get("BLACKSTART_MACHINE_CUTS", "200"))
HERE = Path(__file__).parent


def start_state(place: Path) -> None:
    place.mkdir()
    (place / "a").write_bytes(b"A" * 12288)
    (place / "d").write_bytes(b"d" * 100)
    (place / "log").write_bytes(b"L" * 5000)


def possible(recording: Recording, root: str, system: str) -> set[str]:
    """What a cut may leave by the model, as the guest writes it."""
    found = set()
    for name in (system, "kill9"):
        explorer = Explorer(recording, MODELS[name])
        for state in explorer.states():
            names = dict.fromkeys(p for p in os.listdir(root) if f"{root}/{p}" not in explorer.names.layout(state.mask))
            files = {}
            for path, inode in explorer.names.layout(state.mask).items():
                files[os.path.basename(path)] = recording.contents.content(inode, state.mask, state.garbage)
            for entry in recording.start:
                base = os.path.basename(entry.path)
                if base in names and entry.source and entry.path not in explorer.names.start:
                    files[base] = Path(entry.source).read_bytes()
            found.add(" ".join(f"{n}:{len(d)}:{zlib.crc32(d):08x}" for n, d in sorted(files.items())))
    return found


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    work = tmp_path_factory.mktemp("machine")
    program = work / "guest"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, HERE / "guest.c"], check=True)
    kernel = Path(os.environ.get("BLACKSTART_GUEST_KERNEL", ""))
    if not (kernel / "boot").is_dir():
        pytest.skip("needs BLACKSTART_GUEST_KERNEL (see tools/guest_kernel.sh)")
    return Guest(kernel, program, work)


@pytest.mark.machines
@pytest.mark.timeout(3600)
@pytest.mark.needs("qemu-system-x86_64", "mkfs.xfs", "mkfs.btrfs", "mkfs.ext4", "cpio", "busybox")
def test_every_real_state_is_in_the_models_set(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "EXHAUSTIVE_BITS", 14)
    start = tmp_path / "start"
    start_state(start)
    disks = [Disk(system, workload) for system in SYSTEMS for workload in WORKLOADS]
    bases = {disk.name: guest.make(disk, start) for disk in disks}
    recordings = {}
    for workload in WORKLOADS:
        place = tmp_path / f"run-{workload}"
        shutil.copytree(start, place)
        recordings[workload] = record([str(guest.program), "work", str(workload), str(place), "0"], state=place)
        assert not recordings[workload].uncovered
    logged = guest.record(disks, bases)
    misses, counts = [], {}
    for system in SYSTEMS:
        for workload in WORKLOADS:
            name = f"{system}-{workload}"
            writes = logged[name]
            cuts = cuts_of(writes, CUTS, seed=workload)
            seen = guest.pictures(system, bases[name], writes, cuts)
            allowed = possible(recordings[workload], str(tmp_path / f"run-{workload}"), system)
            counts[system, workload] = (len(writes), len(cuts), len(set(seen)), len(allowed))
            misses += [f"{system} {workload}: {one}" for one in sorted(set(seen) - allowed)]
    for (system, workload), (writes, cuts, seen, allowed) in counts.items():
        print(f"{system:5} workload {workload}: {writes} writes, {cuts} cuts, {seen} states seen, {allowed} allowed")
    assert not misses, "\n".join(misses)
