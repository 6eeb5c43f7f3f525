"""The sandbox as a trial uses it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from blackstart.core.errors import SandboxUnavailable, TargetError
from blackstart.sandbox import Sandbox, Zygote, probe

from .conftest import World

pytestmark = pytest.mark.live


def test_what_the_target_writes_stays_in_the_image_and_off_the_host(world: World, zygote: Zygote) -> None:
    zygote.copy("S0", "trial")
    with zygote.sandbox("trial") as sandbox:
        world.shell(sandbox, "echo two >> state/notes; echo x > outside; echo y > /tmp/scratch")
    assert zygote.read("trial", f"{world.state}/notes") == b"one\ntwo\n"
    assert zygote.read("S0", f"{world.state}/notes") == b"one\n"
    assert (world.state / "notes").read_text() == "one\n"
    assert not (world.cwd / "outside").exists()
    assert [c.path for c in zygote.changes("trial")] == [f"{world.cwd}/outside"]
    assert "/tmp/scratch" in {e.path for e in zygote.walk("trial")}


def test_a_copy_lists_its_files_in_one_order_and_what_is_put_back_is_new(world: World) -> None:
    for name in "cab":
        (world.state / name).write_text(name)
        os.utime(world.state / name, (1, 1))
    with Zygote(world.layout()) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "S1")
        zygote.copy("S1", "S2")
        first, second = (os.listdir(zygote.path(image, str(world.state)) or "") for image in ("S1", "S2"))
        assert first == second
        place = f"{zygote.path('S2', str(world.state))}/a"
        zygote.put("S2", f"{world.state}/a", "S0")
        assert os.stat(place).st_mtime == 1
        zygote.put("S2", f"{world.state}/a", "S0", is_new=True)
        assert os.stat(place).st_mtime > 1


def test_a_kill_takes_the_whole_tree_and_a_restart_sees_what_it_left(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        sandbox.start(
            ["sh", "-c", "echo three > state/new; setsid sleep 300 & sleep 301"],
            env={}, stdin=world.null, stdout=world.null, stderr=world.null,
        )  # fmt: skip
        while len(sandbox.census()) < 3:
            assert sandbox.event() is None
        outer = [p.outer_pid for p in sandbox.census()]
        sandbox.kill()
        assert sandbox.census() == []
        assert not any(os.path.exists(f"/proc/{pid}") for pid in outer)
        ended = sandbox.event()
        assert ended is not None and os.WTERMSIG(ended.status) == signal.SIGKILL
        assert sandbox.advance_pids(500)
        assert world.shell(sandbox, "cat state/new; test $$ -gt 500") == "three\n"


def test_pids_can_be_advanced_for_ever(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        rounds = int(world.shell(sandbox, "cat /proc/sys/kernel/pid_max")) // 5000 + 2
        assert all(sandbox.advance_pids(5000) for _ in range(min(rounds, 2000)))
        assert world.shell(sandbox, "echo still usable") == "still usable\n"


def test_a_program_that_cannot_start_says_why(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        with pytest.raises(TargetError, match="No such file"):
            world.run(sandbox, "no-such-program")
        with pytest.raises(TargetError, match="Permission denied"):
            world.run(sandbox, "/etc/passwd")
        assert world.shell(sandbox, "echo still usable") == "still usable\n"


@pytest.mark.parametrize("place", ["app/.store", "app/deep/er/.store"])
def test_what_is_omitted_is_neither_seen_nor_reported(world: World, place: str) -> None:
    omitted = world.cwd.parent / place
    omitted.mkdir(parents=True)
    (omitted / "inside").write_text("ours")
    with Zygote(world.layout(omit=[str(omitted)])) as zygote:
        zygote.capture("S0")
        with zygote.sandbox("S0") as sandbox:
            world.shell(sandbox, f"! test -e {omitted}/inside")
            if place == "app/.store":
                world.shell(sandbox, "test -z \"$(ls -A . | grep -v state)\"")
        assert zygote.changes("S0") == []
    assert (omitted / "inside").exists()


def test_a_socket_opened_by_name_is_reached_and_its_neighbour_is_not(world: World, tmp_path: Path) -> None:
    said = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b'hello')"
    with socket.socket(socket.AF_UNIX) as opened, socket.socket(socket.AF_UNIX) as closed:
        for server, name in ((opened, "opened"), (closed, "closed")):
            server.bind(str(tmp_path / name))
            server.listen()
            server.setblocking(False)
        with Zygote(world.layout(opened=[str(tmp_path / "opened")])) as zygote:
            zygote.capture("S0")
            with zygote.sandbox("S0") as sandbox:
                for name, status in (("opened", 0), ("closed", 256)):
                    ended, _ = world.run(sandbox, "/usr/bin/python3", "-c", said, str(tmp_path / name))
                    assert ended is not None and ended.status == status
                world.run(sandbox, "chmod", "0", str(tmp_path / "opened"))
        assert opened.accept()[0].recv(9) == b"hello"
        with pytest.raises(BlockingIOError):
            closed.accept()
    assert (tmp_path / "opened").stat().st_mode & 0o777


def test_a_ready_sandbox_is_used_once_and_shows_only_the_target(world: World, zygote: Zygote) -> None:
    zygote.copy("S0", "trial")
    zygote.prepare("trial")
    with zygote.sandbox("trial") as sandbox:
        assert sandbox.census() == []
        assert world.shell(sandbox, "echo $$; ps -e | wc -l").split()[0] == "2"
        assert world.shell(sandbox, "echo again") == "again\n"


def test_limits_and_dropped_capabilities_hold(world: World, zygote: Zygote) -> None:
    (world.state / "closed").write_text("x")
    with zygote.sandbox("S0") as sandbox:
        assert world.shell(sandbox, "ulimit -n", limits={"nofile": 64}) == "64\n"
        assert world.shell(sandbox, "ulimit -c") == "0\n"
        names = ("CAP_DAC_OVERRIDE", "cap_dac_read_search")
        ended, said = world.run(
            sandbox, "sh", "-c", "echo x > state/shut; chmod 0 state/shut; cat state/shut", drop_capabilities=names
        )
        assert ended is not None and os.waitstatus_to_exitcode(ended.status) == 1
        assert "Permission denied" in said


def test_arguments_and_environment_may_hold_any_bytes(world: World, zygote: Zygote) -> None:
    strange = bytes(range(1, 256))
    reading, writing = os.pipe()
    with zygote.sandbox("S0") as sandbox, os.fdopen(reading, "rb") as output:
        sandbox.start(
            [b"/usr/bin/printf", b"%s", strange],
            env={"PATH": "/usr/bin"}, stdin=world.null, stdout=writing, stderr=writing,
        )  # fmt: skip
        os.close(writing)
        assert output.read() == strange
        reading, writing = os.pipe()
        sandbox.start(
            ["/usr/bin/env"], env={b"A\xff": strange}, stdin=world.null, stdout=writing, stderr=writing
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading, "rb") as output:
            assert b"A\xff=" + strange in output.read()


def test_a_target_that_forks_without_end_is_killed_whole(world: World, zygote: Zygote) -> None:
    with zygote.sandbox("S0") as sandbox:
        bomb = "import os\nfor _ in range(3): os.fork()\nwhile True:\n"
        # It may have all that it is allowed before we look.
        bomb += "    try: os.getppid() if os.fork() else os._exit(0)\n    except OSError: pass"
        sandbox.start(
            ["/usr/bin/python3", "-c", bomb],
            env={}, limits={"nproc": 2000}, stdin=world.null, stdout=world.null, stderr=world.null,
        )  # fmt: skip
        while len(sandbox.census()) < 8:
            assert sandbox.event() is None
        sandbox.kill()
        assert sandbox.census() == []
        assert world.shell(sandbox, "echo usable") == "usable\n"


@pytest.mark.parametrize("ask", [lambda s: s.new_socket(socket.AF_INET), lambda s: s.networks(), lambda s: s.kill()])
def test_who_answers_late_is_asked_no_more(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Sandbox], object]
) -> None:
    for limit in ("START_LIMIT_S", "KILL_LIMIT_S"):
        monkeypatch.setattr(f"blackstart.sandbox.sandbox.{limit}", 0.2)
    with zygote.sandbox("S0") as sandbox:
        sandbox.wait_ready()
        os.kill(sandbox.pid1, signal.SIGSTOP)
        with pytest.raises(SandboxUnavailable, match="did not answer"):
            ask(sandbox)
        with pytest.raises(SandboxUnavailable, match="closed"):
            sandbox.new_socket(socket.AF_INET)


def test_a_target_cannot_use_up_the_process_ids_of_the_machine(world: World, zygote: Zygote) -> None:
    outside = Path("/proc/sys/kernel/pid_max").read_text()
    with zygote.sandbox("S0") as sandbox:
        inside = int(world.shell(sandbox, "cat /proc/sys/kernel/pid_max"))
    assert Path("/proc/sys/kernel/pid_max").read_text() == outside
    if tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 14):
        assert inside <= 16384


def test_standard_input_from_a_file_is_a_copy_that_leads_nowhere(world: World, zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"first\nsecond\n")
    before = (tmp_path / "input").stat()
    with open(tmp_path / "input", "rb+") as given, zygote.sandbox("S0") as sandbox:
        for _ in range(2):
            reading, writing = os.pipe()
            with os.fdopen(reading) as output:
                sandbox.start(
                    ["sh", "-c", "read first; echo got $first; cat; chmod 777 /dev/stdin; echo x > /dev/stdin"],
                    env={"PATH": "/usr/bin:/bin"}, stdin=given.fileno(), stdout=writing, stderr=world.null,
                )  # fmt: skip
                os.close(writing)
                assert output.read() == "got first\nsecond\n"
            sandbox.kill()
        with pytest.raises(AssertionError, match="leads to the host"):
            sandbox.start(["true"], env={}, stdin=world.null, stdout=given.fileno(), stderr=world.null)
        assert world.shell(sandbox, "echo still usable") == "still usable\n"
    assert (tmp_path / "input").read_bytes() == b"first\nsecond\n"
    assert (tmp_path / "input").stat().st_mode == before.st_mode


@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_an_image_keeps_what_a_target_left_under_another_name(world: World, isolation: str) -> None:
    if not getattr(probe(), isolation):
        pytest.skip(f"needs {isolation}")
    (world.state / "notes").write_text("one\n")
    with Zygote(world.layout(), isolation=isolation) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "trial")
        with zygote.sandbox("trial") as sandbox:
            world.shell(sandbox, f"echo two >> {world.state}/notes")
        zygote.rename("trial", "S1")
        zygote.copy("S0", "trial")
        with zygote.sandbox("trial") as sandbox:
            world.shell(sandbox, "true")
        assert zygote.read("S1", f"{world.state}/notes") == b"one\ntwo\n"
        assert zygote.read("trial", f"{world.state}/notes") == b"one\n"
        assert set(zygote.names()) == {"S0", "S1", "trial"}
