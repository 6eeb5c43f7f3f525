"""The order of events of a trial on real programs: restart, second restart, resets, what the sandbox could not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from blackstart.core.errors import SandboxLimit
from blackstart.core.history import History, Reset
from blackstart.core.reading import Reading
from blackstart.faults.errno import Errno
from blackstart.faults.file import Damage
from blackstart.faults.kill import Kill
from blackstart.trials import Plan
from blackstart.trials.plan import decode, encode

from .stage import PATIENT, PYTHON, SHORT, Stage, printed, staged, starts

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# A job that refuses to start while its lock is there, and rewrites two files in place.
FRAGILE = """
import os, sys, json
MAKE_LOCK = {make_lock}
if os.path.exists('lock'):
    sys.exit('somebody else is at work')
for name in ('a.json', 'b.json'):
    json.load(open(name))
MAKE_LOCK('lock')
for name in ('a.json', 'b.json'):
    with open(name, 'w', buffering=1) as file:
        file.write('[1,\\n')
        file.write('2]\\n')
open('extra', 'w').write('x')
os.rmdir('lock') if os.path.isdir('lock') else os.unlink('lock')
print('done', flush=True)
"""
FILES = {"a.json": b"[0]", "b.json": b"[0]", "c.json": b"[0]"}


@pytest.fixture(params=["lambda name: open(name, 'x').close()", "os.mkdir"], ids=["file", "directory"])
def fragile(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with staged(tmp_path, FRAGILE.replace("{make_lock}", request.param), FILES) as made:
        yield made


def helped(history: History) -> Reset:
    found = [reset for reset in history.resets if reset.helped]
    return min(found, key=lambda one: len(one.removed) + len(one.put_back))


def test_a_lock_that_outlives_a_kill_is_the_smallest_reset(fragile: Stage) -> None:
    """Killed with the lock made and nothing torn yet: removing it is enough, whether it is a file or a directory."""
    history = fragile.trial(Kill(point=fragile.point("openat|open", "a.json", 2)))
    assert [run.phase for run in history.runs] == ["run", "restart", "restart-again"]
    assert [run.end.code for run in history.runs[1:]] == [1, 1]
    assert helped(history) == Reset(removed=(str(fragile.cwd / "lock"),), helped=True)
    assert history.good_again is None


def test_a_torn_file_and_a_lock_are_found_as_these_two(fragile: Stage) -> None:
    history = fragile.trial(Kill(point=fragile.point("write", "b.json", 2)))
    assert helped(history) == Reset(
        removed=(str(fragile.cwd / "lock"),), put_back=(str(fragile.cwd / "b.json"),), helped=True
    )


def test_a_clean_end_needs_no_second_restart(fragile: Stage) -> None:
    history = fragile.trial(Kill(point=fragile.point("exit_group", "")))
    assert [run.phase for run in history.runs] == ["run", "restart"]
    assert history.resets == ()


def test_a_restart_that_hangs_is_looked_at(tmp_path: Path) -> None:
    script = """
import os, sys
if os.path.exists('begun'):
    os.mkfifo('answer')
    open('answer')
open('begun', 'w')
open('notes', 'w').write('x')
os.unlink('begun')
"""
    with staged(tmp_path, script, {"notes": b"old"}) as stage:
        history = stage.trial(Kill(point=stage.point("openat|open", "notes")), patience=SHORT)
        assert [run.end.how for run in history.runs] == ["killed", "deadline", "exited"]  # the FIFO is in the way now
        assert history.runs[1].end.wait is not None
        assert history.runs[1].end.wait.state == "blocked"
        assert helped(history).removed == (str(stage.cwd / "begun"),)


def test_a_second_restart_that_works_ends_the_trial(tmp_path: Path) -> None:
    script = """
import os, sys
if os.path.exists('begun'):
    os.unlink('begun')
    sys.exit('cleaned up; start me again')
open('begun', 'w')
open('notes', 'w').write('x')
os.unlink('begun')
"""
    with staged(tmp_path, script, {"notes": b"old"}) as stage:
        history = stage.trial(Kill(point=stage.point("openat|open", "notes")))
        assert [run.end.code for run in history.runs[1:]] == [1, 0]
        assert history.resets == ()


def test_the_restart_is_inside_the_killed_runs_world_with_other_process_ids(tmp_path: Path) -> None:
    script = """
import os, sys
seen = open('/dev/shm/mark').read() if os.path.exists('/dev/shm/mark') else 'fresh'
print(os.uname().nodename, seen, os.getpid(), flush=True)
open('/dev/shm/mark', 'w').write('marked')
open('notes', 'w').write(str(os.getpid()))
"""
    with staged(tmp_path, script, {"notes": b"old"}) as stage:
        history = stage.trial(Kill(point=stage.point("write", "notes")))
        killed, again = (printed(run).decode().split() for run in history.runs)
        assert killed[:2] == ["blackstart", "fresh"]
        assert again[:2] == ["blackstart", "marked"]
        assert int(again[2]) - int(killed[2]) >= stage.bench.pid_step


def test_nothing_of_the_killed_run_is_alive_at_the_restart(tmp_path: Path) -> None:
    script = """
import fcntl, os, subprocess, sys, time
lock = open('lock', 'w')
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit('another one is alive')
subprocess.Popen(['sleep', '600'], start_new_session=True, close_fds=False, pass_fds=[lock.fileno()])
open('notes', 'w').write('x')
"""
    with staged(tmp_path, script, {"notes": b"old"}) as stage:
        history = stage.trial(Kill(point=stage.point("write", "notes")))
        assert [run.end.how for run in history.runs] == ["killed", "exited"]
        assert history.runs[1].end.code == 0
        assert any("sleep 600" in left for left in history.runs[1].left)


def test_the_state_is_read_before_anybody_else_starts(tmp_path: Path) -> None:
    script = "open('notes', 'a').write('x')"
    with staged(tmp_path, script, {"notes": b""}) as stage:
        history = stage.trial()
        assert [stage.size(run, "notes") for run in history.runs] == [1, 2]


def test_the_check_is_asked_on_a_copy(tmp_path: Path) -> None:
    with staged(tmp_path, "open('notes', 'a').write('x')", {"notes": b""}) as stage:
        stage.bench.check = stage.command(("/bin/sh", "-c", "wc -c < notes; echo spoilt > notes; exit 3"))
        history = stage.trial()
        assert [run.readings for run in history.runs] == [
            (Reading(name="check", when="run", value="3\n1\n"),),
            (Reading(name="check", when="restart", value="3\n2\n"),),
        ]


def test_a_check_that_does_not_end_is_a_reading_with_an_error(tmp_path: Path) -> None:
    with staged(tmp_path, "pass", {"notes": b""}) as stage:
        stage.bench.check = stage.command(("/bin/sh", "-c", "kill -9 $$"))
        (reading,) = stage.trial(rerun=False).runs[0].readings
        assert "signaled" in reading.error


def test_a_program_that_refuses_a_second_run_is_not_started_again(tmp_path: Path) -> None:
    with staged(tmp_path, "open('notes', 'w').write('x')", {"notes": b"old"}) as stage:
        history = stage.trial(Kill(point=stage.point("write", "notes")), rerun=False)
        assert [run.phase for run in history.runs] == ["run"]


def test_damage_that_the_program_does_not_survive_is_healed_before_the_last_start(tmp_path: Path) -> None:
    with staged(tmp_path, FRAGILE.replace("{make_lock}", "os.mkdir"), FILES) as stage:
        history = stage.trial(Damage(path="$CWD/a.json", damage="garbage"))
        before = history.run("before")
        assert before is not None
        assert stage.size(before, "a.json") == 16  # as it was damaged, before anybody started
        assert [run.phase for run in starts(history)] == ["run", "restart", "restart-again"]
        assert history.good_again is not None
        assert history.good_again.end.code == 0
        assert history.resets == ()


def test_an_image_that_is_full_is_trouble_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, "pass", {"notes": b"old"}) as stage:
        assert stage.trial().trouble == ""
        monkeypatch.setattr("blackstart.sandbox.hindrance.FREE_BYTES_MIN", 1 << 60)
        assert "full" in stage.trial().trouble


def test_a_sandbox_that_breaks_down_makes_the_trial_unknown_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, "pass", {"notes": b"old"}) as stage:

        def no_room(*_: object, **__: object) -> None:
            raise SandboxLimit("no room")

        monkeypatch.setattr(stage.bench, "start", no_room)
        history = stage.trial()
        assert (history.trouble, history.runs, history.kind) == ("no room", (), "null")


def test_a_plan_that_was_written_down_gives_the_same_history(fragile: Stage) -> None:
    plan = Plan(
        kind="kill", start="S0", faults=(Kill(point=fragile.point("write", "a.json", 2)),), patience=PATIENT, seed=5
    )
    from blackstart.trials import run_trial

    def told(one: Plan) -> object:
        history = json.loads(msgspec.json.encode(run_trial(one, fragile.bench)))
        for run in history["runs"]:
            run["end"].pop("elapsed_s")
            for output in run.get("outputs", ()):
                output.pop("at_s")
        for injected in history["injected"]:
            for moment in ("at_s", "process", "thread"):
                injected["operation"].pop(moment, None)
        return history

    assert told(plan) == told(decode(encode(plan)))


def test_an_error_in_the_run_is_over_before_the_restart(fragile: Stage) -> None:
    history = fragile.trial(Errno(point=fragile.point("write", "a.json"), error="ENOSPC", persistent=True))
    assert history.runs[0].end.code != 0
    assert len(history.injected) == 1
    assert history.injected[0].fired >= 1
    assert history.run("restart") is not None


def test_the_interpreter_is_part_of_the_world(tmp_path: Path) -> None:
    with staged(tmp_path, "import sys; print(sys.executable)") as stage:
        assert printed(stage.trial(rerun=False).runs[0]).decode().strip() == PYTHON
