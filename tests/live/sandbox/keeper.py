"""Runs the hostile program in one isolation and compares the host before and after; prints what it found as JSON.

A program of its own, so that one suite can run it as several users: argv is the isolation and a directory that
belongs to the user. The canaries it puts up are of every kind that the hostile program knows.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blackstart.sandbox import Layout, Zygote

HOSTILE = Path(__file__).with_name("hostile.py")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
_ARM = os.uname().machine == "aarch64"
IPC_RMID = 0


def main() -> None:
    isolation, base = sys.argv[1], Path(sys.argv[2])
    with contextlib.ExitStack() as stack:
        canaries = Canaries(base, stack)
        before = canaries.look()
        started = time.time() - time.monotonic()
        report, left, traps = attack(isolation, canaries)
        after = canaries.look()
        after["clock"] = abs(time.time() - time.monotonic() - started) < 2
        before["clock"] = True
        print(
            json.dumps(
                {
                    "doors": report,
                    "left": left,
                    "traps": traps,
                    "differences": {k: [before.get(k), after.get(k)] for k in after if before.get(k) != after.get(k)},
                    "heard": canaries.heard(),
                }
            )
        )


class Canaries:
    """Everything of the host that a program could touch, and its state."""

    def __init__(self, base: Path, stack: contextlib.ExitStack) -> None:
        self.base = base
        self.out = base / "out"
        self.out.mkdir()
        self.state = base / "app" / "state"
        self.state.mkdir(parents=True)
        self.victim = self.out / "victim"
        self.victim.write_bytes(b"precious".ljust(8192, b"."))
        for name in ("removed", "renamed", "replaced"):
            (self.out / name).write_text(name)
        with contextlib.suppress(OSError):
            os.setxattr(self.victim, "user.canary", b"1")
        os.mkfifo(self.out / "fifo")
        self._fifo = os.open(self.out / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self._ears: dict[str, socket.socket] = {}
        self._sockets(stack)
        self._processes(stack)
        self._shared(stack)
        self._terminal(stack)
        self.key = _syscall(248, 217, b"user", b"blackstart-canary", b"key", 3, -4)

    def _sockets(self, stack: contextlib.ExitStack) -> None:
        self.abstract = f"blackstart-canary-{os.getpid()}"
        tcp = self._listen("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), stack)
        udp = self._listen("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), stack)
        self.tcp, self.udp = tcp.getsockname()[1], udp.getsockname()[1]
        self._listen("unix", socket.AF_UNIX, socket.SOCK_STREAM, str(self.out / "socket"), stack)
        self._listen("unix datagram", socket.AF_UNIX, socket.SOCK_DGRAM, str(self.out / "datagram"), stack)
        self._listen("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract, stack)

    def _listen(
        self, name: str, family: int, kind: int, address: Any, stack: contextlib.ExitStack
    ) -> socket.socket:
        ear = stack.enter_context(socket.socket(family, kind))
        ear.bind(address)
        if kind == socket.SOCK_STREAM:
            ear.listen()
        ear.setblocking(False)
        self._ears[name] = ear
        return ear

    def _processes(self, stack: contextlib.ExitStack) -> None:
        self.process = subprocess.Popen(["sleep", "600"], cwd=self.out, start_new_session=True)
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        self.buffer = ctypes.create_string_buffer(b"precious", 64)

    def _shared(self, stack: contextlib.ExitStack) -> None:
        self.shm_key = 0x62730000 + os.getpid() % 0x1000
        self.shm_id = _syscall(29, 194, self.shm_key, 4096, 0o1600)
        stack.callback(lambda: _syscall(31, 195, self.shm_id, IPC_RMID, None))
        self.sem_id = _syscall(64, 190, 0, 1, 0o1600)
        stack.callback(lambda: _syscall(66, 191, self.sem_id, 0, IPC_RMID, 0))
        self.msg_id = _syscall(68, 186, 0, 0o1600)
        stack.callback(lambda: _syscall(71, 187, self.msg_id, IPC_RMID, None))
        self.shm_name = f"blackstart-canary-{os.getpid()}"
        shared = Path("/dev/shm") / self.shm_name
        shared.write_text("precious")
        stack.callback(shared.unlink)
        self.mq_name = f"blackstart-canary-{os.getpid()}"
        _syscall(240, 180, self.mq_name.encode(), os.O_RDWR | os.O_CREAT, 0o600, None)
        stack.callback(lambda: _syscall(241, 181, self.mq_name.encode()))

    def _terminal(self, stack: contextlib.ExitStack) -> None:
        """A controlling terminal of our own, so that injection would have where to go."""
        self.master, slave = os.openpty()
        self.terminal = os.ttyname(slave)
        with contextlib.suppress(OSError):
            os.setsid()
        with contextlib.suppress(OSError):
            fcntl.ioctl(slave, 0x540E, 0)
        self.slave = slave

    def targets(self) -> dict[str, Any]:
        """What the hostile program is told."""
        with open("/proc/self/mountinfo") as file:
            points = [line.split()[4] for line in file]
        return {
            "victim": str(self.victim), "fifo": str(self.out / "fifo"), "unix": str(self.out / "socket"),
            "unix_datagram": str(self.out / "datagram"), "abstract": self.abstract, "tcp": self.tcp, "udp": self.udp,
            "pids": [self.process.pid, os.getpid()], "address": ctypes.addressof(self.buffer),
            "shm_id": self.shm_id, "shm_key": self.shm_key, "sem_id": self.sem_id, "msg_id": self.msg_id,
            "shm_name": self.shm_name, "mq_name": self.mq_name, "key": self.key, "terminals": [self.terminal],
            "submounts": [p for p in points if p.startswith(("/mnt/", "/var/", "/home/", "/opt/"))][:5],
        }  # fmt: skip

    def look(self) -> dict[str, Any]:
        """All of the host that must not change."""
        seen: dict[str, Any] = {f"tree {p}": row for p, row in _tree(self.base)}
        for path in ("/dev/null", "/tmp/blackstart-escape-canary"):
            seen[f"stat {path}"] = _stat(path)
        # Others may be at work on this machine, so of shared directories only the names that the program uses count.
        for path in ("/", "/etc", "/usr", "/dev", "/dev/shm", "/dev/mqueue"):
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(path)
                seen[f"stat {path}"] = [info.st_mode, info.st_uid, info.st_gid]
                seen[f"list {path}"] = sorted(n for n in os.listdir(path) if "newfile-in" in n or self.shm_name in n)
        seen.update({f"setting {k}": v for k, v in _settings()})
        with open("/proc/self/mountinfo") as file:
            seen["mounts"] = file.read()
        for name in ("shm", "sem", "msg"):
            with open(f"/proc/sysvipc/{name}") as file:
                rows = [line.split() for line in file]
            ours = (self.shm_id, self.sem_id, self.msg_id, 0x62730099, 0x62730098, 0x62730097)
            seen[f"ids {name}"] = [row[:3] for row in rows if {str(i) for i in ours} & set(row[:2])]
        seen["shared memory"] = _shared_content(self.shm_id)
        seen["posix memory"] = _read(f"/dev/shm/{self.shm_name}")
        seen["queue"] = _syscall(240, 180, self.mq_name.encode(), os.O_RDWR, 0, None) > 0
        seen["keys"] = sorted(_own_keys())
        seen["hostname"] = os.uname()[:2]
        for pid in (self.process.pid, os.getpid()):
            seen[f"process {pid}"] = _process(pid)
        seen["own memory"] = self.buffer.value
        seen["tick"] = _tick()
        seen["groups"] = sorted(_groups())
        return {k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in seen.items()}

    def heard(self) -> list[str]:
        """What arrived at canaries that listen."""
        heard = []
        for name, ear in self._ears.items():
            try:
                if ear.type == socket.SOCK_STREAM:
                    ear.accept()
                else:
                    ear.recv(100)
                heard.append(name)
            except BlockingIOError:
                pass
        with contextlib.suppress(BlockingIOError):
            if os.read(self._fifo, 100):
                heard.append("fifo")
        waiting = array.array("i", [0])
        fcntl.ioctl(self.slave, 0x541B, waiting)
        os.set_blocking(self.master, False)
        with contextlib.suppress(BlockingIOError):
            if os.read(self.master, 1000):
                heard.append("terminal output")
        return [*heard, "terminal input"] if waiting[0] else heard


def attack(isolation: str, canaries: Canaries) -> tuple[Any, list[str], list[str]]:
    """Let the hostile program do what it can; its report, who is left of it, what traps caught us."""
    inheritable = os.open(canaries.victim, os.O_RDWR)
    os.set_inheritable(inheritable, True)
    cwd = canaries.state.parent
    layout = Layout.of(cwd=str(cwd), home=str(cwd), copies=[str(canaries.state)], overlays=[str(canaries.base)])
    null = os.open("/dev/null", os.O_RDWR)
    program = canaries.state / "hostile.py"
    program.write_bytes(HOSTILE.read_bytes())
    trapped = []
    with Zygote(layout, isolation=isolation) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "trial")
        with zygote.sandbox("trial") as sandbox:
            sandbox.wait_ready()
            targets = canaries.targets()
            targets["state"] = str(canaries.state)
            targets["pids"] += [zygote.pid, sandbox.pid1]
            reading, writing = os.pipe()
            sandbox.start(
                ["/usr/bin/python3", "-S", str(program), json.dumps(targets)],
                env={"PATH": "/usr/bin:/bin", "ESCAPE_MARK": str(os.getpid())},
                stdin=inheritable if isolation == "namespaces" else null, stdout=writing, stderr=null,
            )  # fmt: skip
            os.close(writing)
            ended = sandbox.event(timeout_s=240)
            assert ended is not None, "the hostile program did not end"
            assert len(sandbox.census()) >= 3, sandbox.census()
            sandbox.kill()
            assert sandbox.census() == []
            with os.fdopen(reading, "rb") as output:
                said = output.read()
            assert ended.status == 0 and said.endswith(b"tried all\n"), (ended, said)
        report = json.loads(zygote.read("trial", f"{canaries.state}/report"))
        trapped = list(keep(zygote, canaries))
    canaries_state = program
    canaries_state.unlink()
    left = [str(pid) for pid in _marked(str(os.getpid()))]
    os.close(inheritable)
    return report, left, trapped


def keep(zygote: Zygote, canaries: Canaries) -> Iterator[str]:
    """Do with the image what an owner does; whatever leads out of it is told."""
    state = str(canaries.state)
    for name in ("trap", "trap-old", "trap-directory/victim", "trap-directory/x"):
        for act in ("open", "read", "write", "remove", "put"):
            try:
                if act == "open":
                    os.close(zygote.open_in("trial", f"{state}/{name}", os.O_RDWR))
                elif act == "read" and b"precious" in zygote.read("trial", f"{state}/{name}"):
                    yield f"{act} {name}"
                elif act == "write" and "/" in name:
                    zygote.write("trial", f"{state}/{name}", b"escaped")
                elif act == "remove" and "/" in name:
                    zygote.remove("trial", f"{state}/{name}")
                elif act == "put" and "/" in name:
                    zygote.put("trial", f"{state}/{name}", "S0")
                else:
                    continue
                if act == "open":
                    yield f"{act} {name}"
            except OSError:
                continue
    paths = [e.path for e in zygote.walk("trial")]
    if not any(p.endswith("trap-\udcff\n:,\\") for p in paths):
        yield "a name of any bytes got lost"
    if any("/trap-directory/" in p for p in paths):
        yield "walk followed a link"
    zygote.copy("trial", "again")
    if sorted(paths) != sorted(e.path for e in zygote.walk("again")):
        yield "a copy differs"
    zygote.drop("trial")
    with zygote.sandbox("again") as sandbox:
        sandbox.wait_ready()
    zygote.drop("again")


def _syscall(x86: int, arm: int, *arguments: Any) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(arm if _ARM else x86), *converted))


def _tree(base: Path) -> Iterator[tuple[str, Any]]:
    for top, directories, files in os.walk(base):
        for name in sorted(directories + files):
            path = os.path.join(top, name)
            if not path.endswith("hostile.py"):
                yield path, _stat(path)


def _stat(path: str) -> Any:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    digest = ""
    if info.st_mode & 0o170000 == 0o100000:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    try:
        attributes = [(n, os.getxattr(path, n, follow_symlinks=False).hex()) for n in os.listxattr(path)]
    except OSError:
        attributes = []
    ours = path.endswith("app/state")  # changed by this program itself
    times = (info.st_mtime_ns, info.st_ctime_ns) if not ours else ()
    owner = (info.st_mode, info.st_uid, info.st_gid, info.st_nlink)
    return [owner, info.st_size * bool(digest), times, digest, attributes]


def _settings() -> Iterator[tuple[str, str]]:
    names = ("kernel", "vm", "fs/file-max", "fs/mqueue", "net/ipv4", "user")
    moving = ("random", "ns_last_pid", "nr", "file-nr", "inode", "dentry", "stat_refresh", "compact", "dirty")
    for name in names:
        top = f"/proc/sys/{name}"
        found = [top] if os.path.isfile(top) else [os.path.join(t, f) for t, _, fs in os.walk(top) for f in fs]
        for path in found:
            if not any(word in path for word in moving):
                with contextlib.suppress(OSError):
                    yield path, Path(path).read_bytes().decode("latin-1")


def _shared_content(identifier: int) -> str:
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(identifier, None, 0o10000)
    if address in (None, ctypes.c_void_p(-1).value):
        return "gone"
    content = ctypes.string_at(address, 16).hex()
    libc.shmdt(ctypes.c_void_p(address))
    return content


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        return str(error)


def _own_keys() -> Iterator[str]:
    buffer = ctypes.create_string_buffer(4096)
    count = _syscall(250, 219, 11, -4, buffer, 4096, 0)
    for index in range(max(0, count) // 4):
        key = struct.unpack_from("i", buffer.raw, index * 4)[0]
        described = ctypes.create_string_buffer(512)
        _syscall(250, 219, 6, key, described, 512, 0)
        yield described.value.decode("latin-1")


def _process(pid: int) -> Any:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return [
        fields[0].decode() if pid != os.getpid() else "",
        os.getpriority(os.PRIO_PROCESS, pid),
        sorted(os.sched_getaffinity(pid)),
        os.sched_getscheduler(pid),
        resource.prlimit(pid, resource.RLIMIT_NOFILE),
        _read(f"/proc/{pid}/oom_score_adj"),
        _read(f"/proc/{pid}/comm"),
        _syscall(252, 31, 1, pid),
    ]


def _tick() -> int:
    buffer = ctypes.create_string_buffer(208)
    _syscall(159, 171, buffer)
    return int(struct.unpack_from("q", buffer.raw, 88)[0])


def _groups() -> Iterator[str]:
    for top, directories, _ in os.walk("/sys/fs/cgroup"):
        if "escaped" in top:
            yield top
        if top.count("/") > 5:
            directories.clear()


def _marked(mark: str) -> Iterator[int]:
    """Living processes that carry the hostile program's environment."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{name}/environ").read_bytes()
                if f"ESCAPE_MARK={mark}".encode() in environment:
                    yield int(name)


if __name__ == "__main__":
    signal.alarm(500)
    main()
