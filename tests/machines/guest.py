"""A guest with real file systems: records the block writes of workloads, and mounts what a power cut left of them.

For each file system there are two boots. In the first every workload runs on a disk of its own, whose writes QEMU
logs (`blklogwrites`), until the guest is switched off without a sync. The host makes cuts of each log: prefixes, and
seeded subsets of what lay between two flushes. In the second the guest builds the disk of each cut in memory, mounts
it, and says what stands there: all cuts of all workloads in turn.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

SECTOR = 512
FLUSH, FUA, DISCARD = 1, 2, 4
BOOT_LIMIT_S = 1800
MODULES = {
    "ext4": "mbcache jbd2 crc16 crc32c_generic ext4",
    "xfs": "libcrc32c xfs",
    "btrfs": "libcrc32c xor raid6_pq zstd_compress btrfs",
}
SHARED = "fuse virtiofs overlay".split()
LINKS = "veth sch_netem sch_ingress cls_u32 act_mirred".split()
COMMON = "virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk loop".split()
OPTIONS = {"ext4": "commit=1", "xfs": "noatime", "btrfs": "commit=1"}
SIZES = {"ext4": 64 << 20, "xfs": 304 << 20, "btrfs": 128 << 20}
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mkdir -p /area /m
mount -t tmpfs -o size=600m none /area
for m in {modules}; do [ -e /mod/$m.ko ] && insmod /mod/$m.ko; done
echo 10 > /proc/sys/vm/dirty_writeback_centisecs; echo 30 > /proc/sys/vm/dirty_expire_centisecs
echo 100 > /proc/sys/fs/xfs/xfssyncd_centisecs
{body}
poweroff -n -f
"""
# The machine's own files below an ordinary user: nothing can be changed but in directories of memory.
VISIT = """mkdir /raw /low; mount -t virtiofs -o ro host /raw; mount -o bind /raw /low
{opened}
for d in tmp run var/tmp; do mount -t tmpfs none /low/$d; chmod 1777 /low/$d; done
mkdir -p /dev/pts /dev/shm; mount -t devpts none /dev/pts; mount -t tmpfs none /dev/shm; chmod 1777 /dev/shm
mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up
for size in rmem_max wmem_max; do echo 33554432 > /proc/sys/net/core/$size; done
(cat /raw/etc/passwd; echo visitor:x:1234:1234::/tmp/visitor:/bin/sh) > /low/run/passwd
mount -o bind /low/run/passwd /low/etc/passwd; mkdir /low/tmp/visitor; chown 1234:1234 /low/tmp/visitor
cat > /low/run/script <<'END'
cd /tmp/visitor
{script}
END
for d in proc sys dev; do mount -o move /$d /low/$d; done
cat > /low/run/init <<'END'
{first}
setpriv --reuid 1234 --regid 1234 --clear-groups --inh-caps=-all env -i HOME=/tmp/visitor LANG=C.UTF-8 \\
  PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1 sh /run/script
echo VISITED
busybox poweroff -n -f
END
exec switch_root /low /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin sh /run/init
"""
# A part of the control groups that is the visitor's own, who is in one of two that stand side by side there.
DELEGATED = """
groups=/sys/fs/cgroup; mkdir -p $groups/visit
for part in $groups $groups/visit; do echo '+memory +cpu' > $part/cgroup.subtree_control; done
mkdir $groups/visit/own; chown -R 1234:1234 $groups/visit; echo $$ > $groups/visit/own/cgroup.procs
"""
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
PROJECT = Path(__file__).parents[2]
# Marks of the tests that call `Guest.visit`.
NEEDED_BY_VISITS = [
    pytest.mark.needs("qemu-system-x86_64", "cpio", "busybox", "gcc", "setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom the machine's files are shown by"),
    pytest.mark.skipif(not os.path.exists(VIRTIOFSD), reason=f"needs {VIRTIOFSD} (not installed)"),
]


# Nothing is written back but where somebody asks for it.
NO_WRITE_BACK = "echo 0 > /proc/sys/vm/dirty_writeback_centisecs; echo 360000 > /proc/sys/vm/dirty_expire_centisecs"


@dataclass(frozen=True)
class Disk:
    """One workload on one file system."""

    system: str
    workload: int

    @property
    def name(self) -> str:
        return f"{self.system}-{self.workload}"


@dataclass(frozen=True)
class Entry:
    """One logged write."""

    offset: int
    data: bytes
    flags: int


@dataclass(frozen=True)
class Log:
    """What one workload wrote to its disk, and the cuts of it: indices of the entries that were kept."""

    base: Path
    entries: list[Entry]
    cuts: list[list[int]]


class Guest:
    """kernel: a directory with vmlinuz and lib/modules; program: the static guest program; work: scratch space."""

    def __init__(self, kernel: Path, program: Path, work: Path) -> None:
        self.kernel, self.program, self.work = kernel, program, work

    def initramfs(self, body: str) -> Path:
        """A small root file system whose init does `body`."""
        root = self.work / "initramfs"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "proc", "sys", "dev", "mod"):
            (root / name).mkdir(parents=True)
        shutil.copy("/usr/bin/busybox", root / "bin/busybox")
        shutil.copy(self.program, root / "bin/guest")
        wanted = [*COMMON, *" ".join(MODULES.values()).split(), *SHARED, *LINKS]
        found = {path.stem.replace("-", "_"): path for path in self.kernel.rglob("*.ko")}
        for name in wanted:
            if name in found:
                shutil.copy(found[name], root / f"mod/{name}.ko")
        init = root / "init"
        init.write_text(INIT.format(modules=" ".join(dict.fromkeys(wanted)), body=body))
        init.chmod(0o755)
        names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        archive = subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"], input=names, cwd=root, capture_output=True, check=True
        ).stdout
        path = self.work / "initramfs.gz"
        path.write_bytes(gzip.compress(archive, 1))
        return path

    def boot(self, body: str, drives: list[str], memory_mb: int = 768, limit_s: float = BOOT_LIMIT_S) -> str:
        """Boot once, with these drives as /dev/vda, vdb …; what was said on the console."""
        image = next((self.kernel / "boot").glob("vmlinuz-*"))
        # no_timer_check: on a busy machine the emulated timer is late, and the kernel would panic.
        command = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", str(memory_mb), "-smp", "1",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", str(image),
            "-initrd", str(self.initramfs(body)), "-append", "console=ttyS0 panic=-1 quiet no_timer_check",
            "-serial", "stdio",
        ]  # fmt: skip
        said, errors = self.work / "console.txt", self.work / "qemu.txt"
        with open(said, "wb") as out, open(errors, "wb") as err, suppress(subprocess.TimeoutExpired):
            # What it had said by then is what is left to look at, where its time is up.
            run = [*command, *drives]
            subprocess.run(run, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=limit_s, check=False)
        return said.read_text("utf-8", "replace") + errors.read_text("utf-8", "replace")

    def visit(self, script: str, limit_s: float = BOOT_LIMIT_S, first: str = "") -> str:
        """Run a shell script as an ordinary user on this machine's own files, which it cannot change; what it said.

        first: what root does before that.
        """
        socket = self.work / "files.sock"
        server = subprocess.Popen(
            [VIRTIOFSD, f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                assert server.poll() is None, "virtiofsd ended"
            memory = "memory-backend-memfd,id=m,size=3072M,share=on"
            drives = [
                "-object", memory, "-numa", "node,memdev=m", "-chardev", f"socket,id=files,path={socket}",
                "-device", "vhost-user-fs-pci,chardev=files,tag=host",
            ]  # fmt: skip
            return self.boot(VISIT.format(opened=self._opened(), script=script, first=first), drives, 3072, limit_s)
        finally:
            server.terminate()
            server.wait()

    @staticmethod
    def _opened() -> str:
        """Shell commands that let an ordinary user reach the interpreter and this project where a parent is closed."""
        lines = []
        for needed in dict.fromkeys((os.path.realpath(sys.base_prefix), str(PROJECT))):
            for parent in reversed(Path(needed).parents):
                if not parent.stat().st_mode & 0o001:
                    lines.append(f"grep -q ' /low{parent} ' /proc/mounts || mount -t tmpfs none /low{parent}")
                    lines.append(f"mkdir -p /low{needed}; mount -o bind /raw{needed} /low{needed}")
                    break
        return "\n".join(lines)

    def make(self, disk: Disk, start: Path) -> Path:
        """A new file system that holds the files of `start`; each has an identity of its own."""
        system, path = disk.system, self.work / f"{disk.name}.base"
        with open(path, "wb") as file:
            file.truncate(SIZES[system])
        if system == "ext4":
            subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-d", start, path], check=True)
        elif system == "btrfs":
            subprocess.run(["mkfs.btrfs", "-q", "--rootdir", start, path], check=True)
        else:
            prototype = self.work / "xfs.proto"
            files = "\n".join(f"{p.name} ---644 0 0 {p}" for p in sorted(start.iterdir()))
            prototype.write_text(f"dummy\n0 0\nd--755 0 0\n{files}\n$\n")
            subprocess.run(["mkfs.xfs", "-q", "-f", "-p", prototype, path], check=True)
        return path

    def record(
        self, disks: list[Disk], bases: dict[str, Path], pause_ms: int = 350, first: str = ""
    ) -> dict[str, list[Entry]]:
        """Run every workload in one boot, after the command `first`; the logged writes of each disk."""
        drives, lines = [], [first]
        for index, disk in enumerate(disks):
            image, log = self.work / f"{disk.name}.img", self.work / f"{disk.name}.log"
            subprocess.run(["cp", "--sparse=always", bases[disk.name], image], check=True)
            with open(log, "wb") as file:
                file.truncate(256 << 20)
            drives += [
                "-blockdev", f"driver=file,node-name=f{index},filename={image}",
                "-blockdev", f"driver=file,node-name=l{index},filename={log}",
                "-blockdev", f"driver=blklogwrites,node-name=d{index},file=f{index},log=l{index},log-sector-size=512",
                "-device", f"virtio-blk-pci,drive=d{index}",
            ]  # fmt: skip
            device, place = f"/dev/vd{chr(97 + index)}", f"/m{index}"
            kind = f"-t {disk.system} -o {OPTIONS[disk.system]}"
            lines.append(f"mkdir {place}; mount {kind} {device} {place} || echo BAD")
        lines += [f"guest work {disk.workload} /m{index} {pause_ms} &" for index, disk in enumerate(disks)]
        console = self.boot("\n".join([*lines, "wait", "sleep 3", "echo WORKED"]), drives)
        assert "WORKED" in console and "BAD" not in console, console[-2000:]
        return {disk.name: entries(self.work / f"{disk.name}.log") for disk in disks}

    def pictures(self, system: str, logs: list[Log]) -> list[list[str]]:
        """What stands on the disk of each cut of each log, as the real file system mounts it, in one boot."""
        pack = self.work / "pack"
        pack.write_bytes(packed(logs))
        drives = ["-blockdev", f"driver=file,node-name=f0,filename={pack}",
                  "-blockdev", "driver=raw,node-name=d0,file=f0", "-device", "virtio-blk-pci,drive=d0"]  # fmt: skip
        console = self.boot(f"guest replay /dev/vda {system}", drives, memory_mb=1400)
        assert "REPLAYED" in console, console[-2000:]
        found = [line.strip().split(" ", 2) for line in console.splitlines() if line.startswith("CUT ")]
        said = iter(parts[2] if len(parts) > 2 else "" for parts in found)
        assert len(found) == sum(len(log.cuts) for log in logs)
        return [[next(said) for _ in log.cuts] for log in logs]


def command(module: str, *words: str) -> str:
    """A shell command that runs this module of Python as it is run here."""
    run = f"{shlex.quote(sys.executable)} -m {shlex.join([module, *words])}"
    return f"(cd {shlex.quote(str(PROJECT))} && {run})"


def entries(log: Path) -> list[Entry]:
    """The writes and flushes of a log of QEMU's blklogwrites."""
    found = []
    with open(log, "rb") as file:
        _, _, count, sector = struct.unpack("<QQQI", file.read(28))
        place = sector
        for _ in range(count):
            file.seek(place)
            start, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
            place += sector
            data = b""
            if sectors and not flags & DISCARD:
                file.seek(place)
                data = file.read(sectors * sector)
                place += sectors * sector
            found.append(Entry(start * sector, data, flags))
    return found


def cuts_of(logged: list[Entry], count: int, seed: int) -> list[list[int]]:
    """`count` different sets of writes that a cut may leave: prefixes, then subsets since the last flush."""
    random = Random(seed)
    writes = [index for index, entry in enumerate(logged) if entry.data]
    found: dict[tuple[int, ...], None] = {}
    step = max(1, -(-len(writes) // (count * 2 // 3)))
    for number in [*range(0, len(writes), step), len(writes)]:
        found[tuple(writes[:number])] = None
    flushes = [index for index, entry in enumerate(logged) if entry.flags & FLUSH]
    for _ in range(count * 20):
        if len(found) >= count:
            break
        end = random.randrange(len(logged) + 1)
        sure = max((flush for flush in flushes if flush < end), default=-1)
        share = random.random()
        kept = [i for i in writes if i < end and (i < sure or logged[i].flags & FUA or random.random() < share)]
        found[tuple(kept)] = None
    return [list(cut) for cut in found]


def packed(logs: list[Log]) -> bytes:
    """All that the guest needs, in one file."""
    parts = [struct.pack("<Q", len(logs))]
    for log in logs:
        bases = list(_extents(log.base))
        parts.append(struct.pack("<Q", os.path.getsize(log.base)))
        for pieces in (bases, [(entry.offset, entry.data) for entry in log.entries]):
            parts.append(struct.pack("<Q", len(pieces)))
            parts += [struct.pack("<QQ", offset, len(data)) + data for offset, data in pieces]
        parts.append(struct.pack("<Q", len(log.cuts)))
        parts += [struct.pack(f"<{len(cut) + 1}Q", len(cut), *cut) for cut in log.cuts]
    body = b"".join(parts)
    whole = struct.pack("<Q", len(body) + 8) + body
    return whole.ljust(-(-len(whole) // SECTOR) * SECTOR + SECTOR, b"\0")


def _extents(path: Path, unit: int = 1 << 16):  # type: ignore[no-untyped-def]
    """Where the image holds something."""
    with open(path, "rb") as file:
        offset = 0
        while data := file.read(unit):
            if data.strip(b"\0"):
                yield offset, data
            offset += len(data)
