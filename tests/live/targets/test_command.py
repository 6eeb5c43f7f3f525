"""One start of a real program in a real sandbox, however it behaves: its end, its outputs, what it left alive."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.clock import ManualClock
from blackstart.core.errors import SandboxLimit, TargetError
from blackstart.core.rule import parse
from blackstart.gate import Match, Recorder, Tamper
from blackstart.sandbox import Started
from blackstart.targets import Patience, command, conduct
from blackstart.targets.pipes import OUTPUT_LIMIT_BYTES
from tests.live.trials.stage import PYTHON, SHORT, Stage, descriptors, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, files={"notes": b"one\n"}) as made:
        yield made


def python(script: str) -> tuple[str, str, str]:
    return (PYTHON, "-c", f"import os, sys, time, signal, threading, fcntl, subprocess\n{script}")


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_an_exit_status(stage: Stage, code: int) -> None:
    end = stage.conduct(*python(f"sys.exit({code})")).end
    assert (end.how, end.code, end.signal, end.wait) == ("exited", code, 0, None)
    assert 0 < end.elapsed_s < 30


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_by_a_signal(stage: Stage, number: signal.Signals) -> None:
    end = stage.conduct(*python(f"os.kill(os.getpid(), {int(number)})")).end
    assert (end.how, end.signal) == ("signaled", number)


def test_both_streams_in_order_and_any_bytes(stage: Stage) -> None:
    done = stage.conduct(*python("os.write(1, b'a\\xff\\n'); os.write(2, b'\\0e\\n'); os.write(1, b'b')"))
    assert (printed(done), printed(done, "stderr")) == (b"a\xff\nb", b"\0e\n")
    assert [output.at_s for output in done.outputs] == sorted(output.at_s for output in done.outputs)


def test_what_it_reads_from_stdin(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"three\nlines\nhere\n")
    read = python("print(len(sys.stdin.readlines()))")
    assert printed(stage.conduct(*read, stdin=str(tmp_path / "input"))) == b"3\n"
    assert printed(stage.conduct(*read)) == b"0\n"


def test_fifty_megabytes_of_output_are_taken_and_bounded(stage: Stage) -> None:
    done = stage.conduct(*python("for _ in range(50): os.write(1, b'x' * (1 << 20))\nos.write(2, b'done')"))
    assert (done.end.how, done.end.code) == ("exited", 0)
    assert printed(done, "stderr") == b"done"
    assert OUTPUT_LIMIT_BYTES <= len(printed(done)) <= OUTPUT_LIMIT_BYTES + (1 << 20)


def test_output_of_the_last_moment_is_not_lost(stage: Stage) -> None:
    done = stage.conduct(*python("os.write(1, b'y' * 60000); os._exit(3)"))
    assert (done.end.code, len(printed(done))) == (3, 60000)


def test_closed_streams_are_no_end(stage: Stage) -> None:
    done = stage.conduct(*python("os.close(1); os.close(2); open('made', 'w').write('x'); os._exit(5)"))
    assert (done.end.how, done.end.code, done.outputs) == ("exited", 5, ())


def test_a_child_that_stays_behind_is_told_and_ended(stage: Stage) -> None:
    script = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    done = stage.conduct(*python(script))
    assert (done.end.how, done.end.code) == ("exited", 0)
    assert any("time.sleep(600)" in command for command in done.left)


def test_a_daemon_that_keeps_the_pipe_open_holds_nobody_up(stage: Stage) -> None:
    script = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b'I am here\\n')
        os.kill(os.getppid(), 0)
        time.sleep(600)
    os._exit(0)
os.wait()
os._exit(0)
"""
    began_s = time.monotonic()
    done = stage.conduct(*python(script))
    assert time.monotonic() - began_s < 60
    assert done.end.how == "exited"
    assert len(done.left) == 1


@pytest.mark.parametrize("gated", [False, True], ids=["bare", "gated"])
def test_children_that_end_a_moment_later_still_have_their_say(
    stage: Stage, gated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LINGER_S", 60.0)  # a moment of a busy machine
    script = """
if os.fork() == 0:
    if os.fork() == 0:
        while os.getppid() != 1:
            pass
        open('late', 'w').write('x')
        os.write(1, b'the last word')
    os._exit(0)
"""
    with stage.bench.image_from("S0") as image:
        done = stage.conduct(*python(script), image=image, recorder=Recorder() if gated else None)
        assert printed(done) == b"the last word"
        assert done.left == ()
        assert stage.zygote.read(image, str(stage.cwd / "late")) == b"x"
    if gated:
        assert any(operation.masked == "$CWD/late" for operation in done.trace)


def test_the_time_of_the_sandbox_is_not_the_targets(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(100.0)
    with stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
        real = sandbox.start

        def slow(*arguments: Any, **named: Any) -> Started:
            clock.sleep(40)
            return real(*arguments, **named)

        monkeypatch.setattr(sandbox, "start", slow)
        end = conduct(sandbox, stage.command(("true",)), patience=Patience(deadline_s=30, hard_s=60), clock=clock).end
    assert (end.how, end.code, end.elapsed_s) == ("exited", 0, 0.0)


@pytest.mark.parametrize("gated", [False, True], ids=["bare", "gated"])
@pytest.mark.parametrize("program", ["./no-such-program", "no-such-program", "./notes", "."])
def test_a_program_that_cannot_be_executed(stage: Stage, program: str, gated: bool) -> None:
    before = descriptors()
    with pytest.raises(TargetError, match="cannot be started"):
        stage.conduct(program, recorder=Recorder() if gated else None)
    assert descriptors() == before


def test_a_program_without_an_interpreter_says_so_even_where_its_start_waited_in_the_gate(stage: Stage) -> None:
    script = stage.cwd / "script"
    script.write_text("#!/no-such-interpreter\n")
    script.chmod(0o755)
    stage.zygote.capture("with a script")
    with pytest.raises(TargetError, match="cannot be started"):
        stage.conduct("./script", image="with a script")
    done = stage.conduct("./script", image="with a script", recorder=Recorder())
    assert (done.end.how, done.end.code) == ("exited", 127)
    assert b"cannot be executed: No such file" in b"".join(output.data for output in done.outputs)


def test_nothing_is_left_open(stage: Stage) -> None:
    stage.conduct("true")
    before = descriptors()
    for recorder in (None, Recorder()):
        stage.conduct("true", recorder=recorder)
        stage.conduct(*python("time.sleep(600)"), recorder=recorder, patience=SHORT)
    assert descriptors() == before


HANGING = {
    "fifo": ("os.mkfifo('fifo'); open('fifo')", {"openat", "open"}),
    "flock": (
        "held = open('lock', 'w'); fcntl.flock(held, fcntl.LOCK_EX)\nfcntl.flock(open('lock'), fcntl.LOCK_EX)",
        {"flock"},
    ),
    "pipe": ("os.read(os.pipe()[0], 1)", {"read"}),
    "mutex": ("lock = threading.Lock(); lock.acquire(); lock.acquire()", {"futex"}),
    "socket": ("import socket\na, b = socket.socketpair()\na.recv(1)", {"recvfrom", "read"}),
    "full pipe": ("os.write(os.pipe()[1], b'x' * (1 << 20))", {"write"}),
    "child": ("subprocess.run([sys.executable, '-c', 'import os; os.read(os.pipe()[0], 1)'])", {"read"}),
}


@pytest.mark.parametrize("gated", [False, True], ids=["bare", "gated"])
@pytest.mark.parametrize("name", sorted(HANGING))
def test_a_hanging_program_is_seen_in_what_it_hangs_in(stage: Stage, name: str, gated: bool) -> None:
    script, calls = HANGING[name]
    done = stage.conduct(*python(script), patience=SHORT, recorder=Recorder() if gated else None)
    assert done.end.how == "deadline"
    assert done.end.wait is not None
    assert done.end.wait.state == "blocked", done.end
    assert done.end.wait.call in calls
    assert done.end.wait.seen_s >= 2.0
    assert done.end.elapsed_s < SHORT.hard_s


def test_a_lock_is_named_by_its_file(stage: Stage) -> None:
    wait = stage.conduct(*python(HANGING["flock"][0]), patience=SHORT).end.wait
    assert wait is not None
    assert wait.path == str(stage.cwd / "lock")


def test_a_stopped_program_is_blocked(stage: Stage) -> None:
    wait = stage.conduct(*python("os.kill(os.getpid(), signal.SIGSTOP)"), patience=SHORT).end.wait
    assert wait is not None
    assert wait.state == "blocked"


def test_a_spinning_program_is_busy(stage: Stage) -> None:
    """The machine may be busy too, so the share is what the program got of one processor."""
    patience = Patience(deadline_s=0.5, hard_s=40.0)
    end = stage.conduct(*python("while True: pass"), patience=patience).end
    assert end.how == "deadline"
    assert end.wait is not None
    assert end.wait.state in ("busy", "working")
    if end.wait.state == "busy":
        assert end.wait.cpu >= 0.9
        assert end.wait.seen_s >= 5


RETRIES = """
for turn in range(10**9):
    try:
        open('notes').read()
        break
    except OSError:
        {then}
"""


@pytest.mark.parametrize(
    ("then", "states"), [("pass", {"busy"}), ("time.sleep(0.02)", {"working", "timed", "repeating"})]
)
def test_a_program_that_retries_the_failing_call_without_a_rest_is_busy(
    stage: Stage, then: str, states: set[str]
) -> None:
    failing = Tamper(match=Match(call="openat", path="$CWD/notes"), rule=parse("@1+ raise(OSError: EIO)"))
    patience = Patience(deadline_s=0.5, hard_s=60.0 if then == "pass" else 10.0)
    end = stage.conduct(*python(RETRIES.format(then=then)), tampers=[failing], patience=patience).end
    assert end.wait is not None
    assert end.wait.state in states
    assert (end.wait.rounds > 100) == (then == "pass")


def test_a_program_that_writes_while_it_computes_is_at_work(stage: Stage) -> None:
    script = """
out = os.open('log', os.O_WRONLY | os.O_CREAT)
while True:
    sum(range(10000))
    os.write(out, b'x')
"""
    wait = stage.conduct(*python(script), patience=Patience(deadline_s=0.5, hard_s=8.0)).end.wait
    assert wait is not None
    assert wait.state == "working"


@pytest.mark.parametrize("gated", [False, True], ids=["bare", "gated"])
def test_a_sleep_far_beyond_the_deadline_is_a_sleep_and_not_sat_out(stage: Stage, gated: bool) -> None:
    end = stage.conduct(*python("time.sleep(3600)"), patience=SHORT, recorder=Recorder() if gated else None).end
    assert end.wait is not None
    assert (end.wait.state, end.wait.call) == ("timed", "clock_nanosleep")
    assert 3500 < end.wait.limit_s <= 3600
    assert end.elapsed_s < SHORT.hard_s


def test_a_sleep_that_ends_within_our_patience_ends(stage: Stage) -> None:
    end = stage.conduct(*python("time.sleep(4); sys.exit(9)"), patience=SHORT).end
    assert (end.how, end.code) == ("exited", 9)


def test_short_sleeps_in_ever_new_processes_are_not_hung(stage: Stage) -> None:
    end = stage.conduct("sh", "-c", "while :; do sleep 0.2; done", patience=Patience(deadline_s=0.5, hard_s=6.0)).end
    assert end.wait is not None
    assert end.wait.state in ("timed", "working")
    assert end.wait.seen_s < end.wait.limit_s + 3 or end.wait.state == "working"


def test_a_process_1_that_is_ended_from_outside_is_told_at_once(stage: Stage) -> None:
    began_s = time.monotonic()
    with stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
        sandbox.wait_ready()
        before = descriptors()
        timer = threading.Timer(1.0, os.kill, (sandbox.pid1, signal.SIGKILL))
        timer.start()
        with pytest.raises(SandboxLimit, match="process 1"):
            conduct(sandbox, stage.command(python("time.sleep(600)")), patience=Patience(deadline_s=30, hard_s=60))
        timer.join(10)
        assert descriptors() <= before
    assert time.monotonic() - began_s < 25


def test_a_kill_in_the_gate_ends_the_whole_tree(stage: Stage) -> None:
    script = """
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open('notes', 'w').write('two')
"""
    kill = Tamper(match=Match(call="openat", path="$CWD/notes"), rule=parse("@1 kill"))
    done = stage.conduct(*python(script), tampers=[kill])
    assert (done.end.how, done.left) == ("killed", ())
    assert [firing.verb for firing in done.firings] == ["kill"]


def test_how_many_lines_had_got_out_when_the_fault_fired(stage: Stage) -> None:
    script = "print('a', flush=True); print('b', flush=True)\nopen('notes', 'w')\nprint('c', flush=True)"
    failing = Tamper(match=Match(call="openat", path="$CWD/notes"), rule=parse("@1 raise(OSError: EIO)"))
    done = stage.conduct(*python(script), tampers=[failing])
    assert (done.end.how, done.end.code, done.outputs_at_firing) == ("exited", 1, 2)


def test_capabilities_are_dropped_for_this_start_only(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: only root has capabilities to drop")
    script = python("os.chmod('notes', 0); print(open('notes').read())")
    assert stage.conduct(*script, drop_capabilities=("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")).end.code == 1
    assert stage.conduct(*script).end.code == 0


def test_arguments_may_hold_any_bytes(stage: Stage) -> None:
    odd = os.fsdecode(b"caf\xe9\xff \n'")
    done = stage.conduct(PYTHON, "-c", "import os, sys; os.write(1, os.fsencode(sys.argv[1]))", odd)
    assert printed(done) == b"caf\xe9\xff \n'"


def test_the_interpreter_of_these_tests_is_the_one_that_runs_inside(stage: Stage) -> None:
    assert printed(stage.conduct(*python("print(sys.executable)"))).decode().strip() == sys.executable
