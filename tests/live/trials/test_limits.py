"""Limits of services, and of whole trees: they bite, are lifted while the service runs, and nothing of them is left.

Each on a program that gets over it and one that does not, ten lines apart. covers: M-19, L-5, L-7
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import SIGNALED, STOPPED, Injected, Life
from blackstart.core.verdict import FAILED, PASSED
from blackstart.faults import AnyFault
from blackstart.faults.limit import DESCRIPTORS, MEMORY, PROCESSES, Limit
from blackstart.faults.scarce import CPU, PRESSURE, RESIDENT, Scarce
from blackstart.guard import Ledger, undo
from blackstart.oracles import alive
from blackstart.sandbox import groups
from blackstart.targets import Patience, Service
from blackstart.targets.readiness import parse_ready
from blackstart.trials import Plan, job
from blackstart.trials.handlers import handlers_of

from .stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
grouped = pytest.mark.skipif(
    any(groups.place(name).refusal for name in (groups.MEMORY, groups.CPU)),
    reason="needs a control group: none can be made here (`blackstart doctor` says why)",
)

# A parent and a child that answers each client after some work: 50 ms of a processor, a line in a file, and 32 MiB,
# more than the kernel finds by giving up what it has read of the interpreter's own files. How long a client waits is
# counted from when that asked: the server may lack something before it has so much as seen it.
SERVER = """
import os, select, signal, socket, sys, time
MODE = {mode!r}
listener = socket.create_server(('127.0.0.1', 8097))

def work(began):
    held, until = b'x' * (32 << 20), time.process_time() + 0.05
    while time.process_time() < until:
        pass
    with open('log', 'a') as log:
        print('x' * 40, file=log)
    return time.monotonic() - began < 0.4

def serve():
    most, has_tripped = b'x' * (24 << 20), False  # of the two it is the one that the kernel would rather kill
    print('ready', flush=True)
    while True:
        select.select([listener], [], [])  # a call that waits already meets no new limit
        try:
            with listener.accept()[0] as client:
                if MODE != 'tripped' or not has_tripped:
                    has_tripped = not work(float(client.recv(40))) or has_tripped
                    client.sendall(b'ok')
        except (OSError, MemoryError) as error:
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.05)
            if MODE == 'leaves':
                return

def stop(*_):
    os.kill(child, signal.SIGKILL) if child else None
    os._exit(0)

child = 0
signal.signal(signal.SIGTERM, stop)
while True:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        serve()
        os._exit(1)
    os.waitpid(child, 0)
    child = 0
    while MODE in ('leaves', 'orphaned'):
        signal.pause()
"""
WORK = """
import socket, time
for number in range(3):
    how = 'info'
    try:
        with socket.create_connection(('127.0.0.1', 8097), timeout=2) as asked:
            asked.sendall(str(time.monotonic()).encode())
            how = 'ok' if asked.recv(2) == b'ok' else 'fail'
    except OSError:
        pass
    print(how, number, flush=True)
    if how != 'ok':
        break
"""
PATIENCE = Patience(deadline_s=15.0, hard_s=40.0, work_s=15.0)


def served(base: Path, mode: str, fault: AnyFault) -> tuple[Injected, set[str]]:
    """(the account, what `alive` calls it)"""
    with staged(base, SERVER.replace("{mode!r}", repr(mode))) as stage:
        workload = stage.command((sys.executable, "-c", WORK))
        stage.bench.service = Service(ready=parse_ready("log:ready", str(stage.cwd)), workload=workload)
        chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(ready_s=0.1, stop_s=1.0)),)
        stage.bench.calibration = Calibration(chain=chain, is_service=True, repeats=True)
        history = stage.trial(fault, patience=PATIENCE, rerun=False)
    assert history.trouble == "" and history.runs[0].end.how == STOPPED, history.runs[0]
    verdicts = alive.judge(history, stage.bench.calibration)
    (account,) = history.injected
    return account, {v.consequence for v in verdicts if v.outcome == FAILED}


@pytest.mark.parametrize(
    ("fault", "bad"),
    [
        (Limit(what=DESCRIPTORS, most=0, heals=True), "leaves"),
        (Limit(what=MEMORY, most=0, heals=True), "leaves"),
        pytest.param(Scarce(what=RESIDENT, most=0), "orphaned", marks=grouped),
        pytest.param(Scarce(what=PRESSURE, most=0), "tripped", marks=grouped),
        pytest.param(Scarce(what=CPU, most=10), "tripped", marks=grouped),
    ],
    ids=lambda value: getattr(value, "what", value),
)
def test_a_service_lacks_something_for_a_while(
    tmp_path: Path, fault: AnyFault, bad: str, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    for mode, consequences in (("good", set()), (bad, {"dead"})):
        place = tmp_path / mode
        place.mkdir()
        monkeypatch.setattr(job, "_AGAIN_S", 10.0 if mode == "good" else 0.1)
        account, found = served(place, mode, fault)
        assert account.fired, (mode, account.note)
        assert found == consequences, (mode, account.note)
    assert len(made) == (2 if isinstance(fault, Scarce) else 0)


FORKING = """
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(('127.0.0.1', 8097))
print('ready', flush=True)
while True:
    with listener.accept()[0] as client:
        try:
            if not os.fork():
                client.sendall(b'ok')
                os._exit(0)
        except OSError:
            client.sendall(b'no')
"""


def test_what_comes_only_once_all_is_healed_does_not_stay(tmp_path: Path) -> None:
    """Its workload makes three processes, and so do the users who look whether it is well again."""
    with staged(tmp_path, FORKING) as stage:
        workload = stage.command((sys.executable, "-c", WORK))
        stage.bench.service = Service(ready=parse_ready("log:ready", str(stage.cwd)), workload=workload)
        chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(ready_s=0.1, stop_s=1.0)),)
        stage.bench.calibration = Calibration(chain=chain, is_service=True, repeats=True)
        history = stage.trial(Limit(what=PROCESSES, most=4), patience=PATIENCE, rerun=False)
    (account,) = history.injected
    assert account.fired and history.runs[0].life, account.note
    assert [act.how for act in history.runs[0].life.again] == ["ok"] * 3, history.runs[0].life
    assert {v.outcome for v in alive.judge(history, stage.bench.calibration)} == {PASSED}


CAUGHT = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print('ready', flush=True)
held = []
while True:
    time.sleep(0.05)
    try:
        held.append(os.open('log', os.O_WRONLY | os.O_CREAT))
    except OSError:
        time.sleep(0.05)
"""


def test_a_service_lacks_it_under_the_tracer_too(tmp_path: Path) -> None:
    with staged(tmp_path, files={"server.py": CAUGHT.encode()}) as stage:
        stage.bench.command = stage.command((sys.executable, "server.py"))
        stage.bench.service = Service(ready=parse_ready("log:ready", str(stage.cwd)))
        chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(ready_s=0.1, stop_s=1.0)),)
        stage.bench.calibration = Calibration(chain=chain, is_service=True)
        fault = Limit(what=DESCRIPTORS, most=0, heals=True)
        plan = Plan(kind="limit", start="S0", faults=(fault,), patience=PATIENCE, rerun=False, traces=True)
        found = handlers_of(plan, stage.bench)
    assert [(one.what, one.ran) for one in found] == [("except OSError", True)]


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths of all groups that the test made; none is there in the end."""
    paths: list[str] = []

    class Noted(groups.Group):
        def __init__(self, path: str, at: groups.Place, controller: str) -> None:
            paths.append(path)
            super().__init__(path, at, controller)

    monkeypatch.setattr(groups, "Group", Noted)
    yield paths
    assert not any(map(os.path.isdir, paths))


READS = """
import os, sys
sys.stdin.readline()
with open(sys.argv[1], "rb") as file:
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is read again counts as ours
    while file.read(1 << 16):
        pass
print("read", flush=True)
sys.stdin.readline()
held = [bytearray(1 << 20) for _ in range(int(sys.argv[2]))]
print("held", flush=True)
sys.stdin.readline()
"""


@grouped
@pytest.mark.parametrize(("more", "waits"), [("2", False), ("64", True)])
def test_memory_that_could_be_reclaimed_is_no_pressure(tmp_path: Path, more: str, waits: bool) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(20 << 20))
        os.fsync(file.fileno())
    command = [sys.executable, "-c", READS, str(tmp_path / "file"), more]
    with groups.made(groups.MEMORY) as group:
        reading = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert reading.stdin and reading.stdout
        with reading:
            try:
                group.take(reading.pid)
                reading.stdin.write(b"\n")
                reading.stdin.flush()
                assert reading.stdout.readline() == b"read\n"
                if int(dict(map(str.split, Path(group.path, "memory.stat").open()))["inactive_file"]) < 10 << 20:
                    pytest.skip("needs a control group: none can be made here that files of this disk count in")
                group.limit_memory(0, waits=True)
                reading.stdin.write(b"\n")
                reading.stdin.flush()
                end_s = time.monotonic() + 60
                while waits and not group.counts()["waited"] and time.monotonic() < end_s:
                    os.sched_yield()
                if waits:
                    group.lift()
                assert reading.stdout.readline() == b"held\n"
                assert group.counts()["met"] and bool(group.counts()["waited"]) == waits
            finally:
                reading.kill()


GROWS = "open('mark', 'w').close()\nheld = [bytearray(1 << 20) for _ in range(30)]\nprint(len(held))"


@grouped
def test_a_job_is_killed_where_memory_ends(tmp_path: Path) -> None:
    with staged(tmp_path, GROWS) as stage:
        fault = Scarce(what=RESIDENT, most=8 << 20, point=stage.point("openat|open", "mark"))
        history = stage.trial(fault)
        assert stage.trial(fault, rerun=False).injected[0].fired == 1
    first, again = history.runs
    assert (first.end.how, first.end.signal) == (SIGNALED, signal.SIGKILL)
    assert history.injected[0].note == "the kernel killed 1 of its processes"
    assert (again.end.code, again.text("stdout")) == (0, b"30\n")


HOLDS = """
import os, sys, time
from blackstart.sandbox import groups
with groups.made(groups.MEMORY) as memory, groups.made(groups.CPU) as cpu:
    for group in (memory, cpu):
        group.take(os.getpid())
    cpu.limit_cpu(50)
    memory.limit_memory(8 << 20, waits=True)
    print(memory.path, cpu.path, flush=True)
    time.sleep(60)
"""


@grouped
def test_undo_removes_what_is_left_of_one_whose_keeper_was_killed_too(tmp_path: Path) -> None:
    with groups.made(groups.MEMORY) as beside:
        left = f"{os.path.dirname(beside.path)}/{groups.PREFIX}{os.urandom(8).hex()}"
    ledger = Ledger(tmp_path / "ledger")
    with subprocess.Popen(["sleep", "300"]) as process:
        ledger.process(process.pid)
        with contextlib.suppress(InterruptedError), ledger.group(left):
            os.mkdir(left)
            Path(left, "cgroup.procs").write_text(str(process.pid))
            raise InterruptedError
        assert [one.outcome for one in undo(tmp_path / "ledger")] == ["ended", "removed"]
    assert not os.path.exists(left)


@grouped
def test_nothing_of_a_group_is_left_when_we_are_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, start_new_session=True)
    assert holder.stdout is not None
    with holder, holder.stdout:
        paths = holder.stdout.readline().decode().split()
        assert len(paths) == 2 and all(map(os.path.isdir, paths))
        holder.kill()
    end_s = time.monotonic() + 20
    while any(map(os.path.isdir, paths)) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not any(map(os.path.isdir, paths))
