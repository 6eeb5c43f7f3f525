"""`target`: real programs whose system calls fail.

covers: M-1, M-5
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.errors import TargetError
from blackstart.core.rule import RuleError
from blackstart.inprocess import NeverFired

PROGRAM = """
import os, sys
for n in range(3):
    with open("state.part", "w") as file:
        file.write(str(n))
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            sys.exit(f"cannot save {n}: {error.strerror}")
    os.replace("state.part", "state")
"""
pytestmark = pytest.mark.live


def test_the_second_fsync_of_a_program_fails(target: Any) -> None:
    fsync = target.fail("fsync", "@2 raise(OSError: EIO)")
    ended = target.run([sys.executable, "-c", PROGRAM])
    assert (ended.status, ended.output) == (1, b"cannot save 1: Input/output error\n")
    assert (fsync.hits, fsync.fired) == (2, 1)
    assert (target.cwd / "state").read_text() == "0"
    target.heal()
    assert target.run([sys.executable, "-c", PROGRAM]).status == 0


def test_a_sweep_fails_each_system_call_once(target: Any) -> None:
    """covers: M-5"""
    seen = []
    for fault in target.sweep("fsync"):
        with fault:
            ended = target.run([sys.executable, "-c", PROGRAM])
            if ended.status:
                target.run(["true"])  # another program in the same step hides nothing
        seen.append((fault.mode, fault.hit, ended.output.decode().partition(":")[0]))
    told = ["cannot save 0", "cannot save 1", "cannot save 2", ""]
    assert seen == [(mode, hit, said) for mode in ("transient", "persistent") for hit, said in enumerate(told, 1)]
    assert target.orders == []


def test_a_program_is_killed_between_two_operations(target: Any) -> None:
    target.fail("rename", "@2 kill")
    assert target.run([sys.executable, "-c", PROGRAM]).status == -9
    assert ((target.cwd / "state").read_text(), (target.cwd / "state.part").read_text()) == ("0", "1")


def test_what_never_fired_or_cannot_be_done_is_an_error(target: Any) -> None:
    with pytest.raises(RuleError):
        target.fail("fsync", "call(os.getpid)")
    target.fail("fsync", "@9 raise(OSError: EIO)")
    with pytest.raises(NeverFired, match="reached 3 times"):
        target.run([sys.executable, "-c", PROGRAM])


def test_a_program_that_does_not_end_is_killed(target: Any) -> None:
    with pytest.raises(TargetError, match="did not end within"):
        target.run(["sleep", "1000"], timeout_s=0.2)


@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_what_it_changes_elsewhere_stays_in_the_sandbox(
    isolation: str, target: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLACKSTART_ISOLATION", isolation)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "made"
    (target.cwd / "old").write_text("old")
    (target.cwd / "gone").write_text("gone")
    write = target.fail("write", "@1 raise(OSError: EIO)", path="$CWD/new")
    script = f"echo more >>old; rm gone; mkdir -p deep/er; echo x >new; echo y >new; touch {elsewhere}; exit 3"
    ended = target.run(["sh", "-c", script])
    assert (ended.status, write.fired) == (3, 1)
    assert not elsewhere.exists()
    assert sorted(path.name for path in target.cwd.rglob("*")) == ["deep", "er", "new", "old"]
    assert ((target.cwd / "old").read_text(), (target.cwd / "new").read_text()) == ("oldmore\n", "y\n")


def test_on_the_machine_itself_it_reaches_a_server_of_the_test(target: Any) -> None:
    script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).sendall(b'here')"
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", script, str(server.getsockname()[1])]
        target.fail("write", "raise(OSError: EIO)", may_miss=True)
        assert b"refused" in target.run(command).output
        assert target.run(command, sandbox=False).status == 0
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(4) == b"here"


@pytest.mark.parametrize("sandbox", [True, False])
def test_one_that_closes_its_outputs_is_waited_for(sandbox: bool, target: Any) -> None:
    script = "echo said; exec >&- 2>&-; sleep 0.2; echo >done; exit 4"
    ended = target.run(["sh", "-c", script], sandbox=sandbox)
    assert (ended.status, ended.output, Path(target.cwd, "done").exists()) == (4, b"said\n", True)


@pytest.mark.parametrize("sandbox", [True, False])
def test_one_that_leaves_a_child_with_its_outputs_is_not_waited_for(sandbox: bool, target: Any) -> None:
    ended = target.run(["sh", "-c", "sleep 1000 & echo said; exit 5"], sandbox=sandbox)
    assert (ended.status, ended.output) == (5, b"said\n")


def test_each_run_draws_anew(target: Any) -> None:
    script = """
import os
file, told = os.open("state", os.O_WRONLY | os.O_CREAT), ""
for _ in range(24):
    try:
        told += str(os.write(file, b"x"))
    except OSError:
        told += "-"
print(told)
"""
    write = target.fail("write", "50% raise(OSError: EIO)", path="$CWD/state")
    said = [target.run([sys.executable, "-c", script]).output for _ in range(3)]
    assert write.hits == 24
    assert len(set(said)) == 3, said


def test_calls_that_no_recording_needs_fail_too(target: Any) -> None:
    script = """
import os, socket
for do in (lambda: os.stat("here"), lambda: pair[0].recv(1), lambda: os.stat("there")):
    pair = socket.socketpair()
    pair[1].send(b"x")
    try:
        do()
        print("done")
    except OSError as error:
        print(error.strerror)
"""
    for name in ("here", "there"):
        (target.cwd / name).touch()
    look = target.fail("lookups", "raise(OSError: EACCES)", path="$CWD/here")
    receive = target.fail("recvfrom", "@1 raise(OSError: ECONNRESET)", path="*")
    ended = target.run([sys.executable, "-c", script])
    assert ended.output == b"Permission denied\nConnection reset by peer\ndone\n"
    assert (look.fired, receive.fired) == (1, 1)


def test_a_full_disk_lets_a_file_that_is_there_be_emptied(target: Any) -> None:
    (target.cwd / "old").write_text("old")
    full = target.fail("growing", "raise(OSError: ENOSPC)")
    target.run(["sh", "-c", "echo new >old; echo new >new"])
    assert (target.cwd / "old").read_text() == ""
    assert not (target.cwd / "new").exists()
    assert full.fired == 2
    target.heal()
    target.fail("modifying", "raise(OSError: EROFS)")
    assert target.run(["sh", "-c", "cat <old; echo new >old"]).output.count(b"Read-only") == 1  # reading goes on


def test_calls_that_are_about_no_file_are_hits_wherever_they_lead(target: Any) -> None:
    connect = target.fail("connect", "raise(OSError: ECONNREFUSED)")
    start = target.fail("fork|vfork|clone|clone3", "@1 raise(OSError: EAGAIN)")
    script = """
import os, socket
for do in (lambda: socket.create_connection(("127.0.0.1", 9)), os.fork):
    try:
        do()
    except OSError as error:
        print(error.strerror)
"""
    said = target.run([sys.executable, "-c", script]).output.splitlines()
    assert said == [b"Connection refused", b"Resource temporarily unavailable"]
    assert (connect.fired, start.fired) == (1, 1)
