"""The kinds disk, limit, kill-one and time on real programs: they fire, are told so, and are over at the restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.history import DEADLINE, EXITED, History, Injected, Run
from blackstart.faults import AnyFault
from blackstart.faults.disk import ENTRIES, Full
from blackstart.faults.kill import Kill
from blackstart.faults.kill_one import KillOne
from blackstart.faults.limit import DESCRIPTORS, MEMORY, PROCESSES, SIZE, Limit
from blackstart.faults.point import Point
from blackstart.faults.scene import Scene
from blackstart.faults.time import Jump, Uptime
from blackstart.gate import WallClock
from blackstart.targets import Patience, conduct
from blackstart.targets.command import GateOrder
from tests.twins.making import compiled

from .stage import PATIENT, Stage, printed, staged, starts

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# Writes 16 pages in four steps, telling every error by its name; each start begins anew.
PAGES = """
import errno, os
def told(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        print(what.__name__, errno.errorcode[error.errno], flush=True)
out = os.open('out', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for number in range(4):
    size = told(os.write, out, b'x' * 16384)
    if size not in (None, 16384):
        print('short', size, flush=True)
told(os.mkdir, 'made') if not os.path.isdir('made') else 0
"""


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, PAGES) as made:
        yield made


def only(history: History) -> Injected:
    assert history.trouble == ""
    return history.injected[-1]


def said(run: Run) -> list[str]:
    return printed(run).decode().splitlines()


def whole(stage: Stage, history: History) -> None:
    """The restart had all it needed."""
    last = starts(history)[-1]
    assert (last.end.how, last.end.code, said(last)) == (EXITED, 0, [])
    assert stage.size(last, "out") == 65536


def test_a_full_disk_refuses_until_the_restart(pages: Stage) -> None:
    """covers: R-17"""
    history = pages.trial(Full(point=pages.point("write", "out", 3)))
    assert said(history.runs[0]) == ["write ENOSPC"] * 2
    assert pages.size(history.runs[0], "out") == 32768
    account = only(history)
    assert (account.fired, account.matched) == (2, True)
    whole(pages, history)


def test_a_disk_with_a_little_room_cuts_a_write_short(pages: Stage) -> None:
    history = pages.trial(Full(point=pages.point("write", "out", 2), room=8192))
    assert said(history.runs[0]) == ["short 8192", "write ENOSPC", "write ENOSPC"]
    assert only(history).fired == 3
    whole(pages, history)


def test_a_disk_is_freed_again_after_one_refusal(pages: Stage) -> None:
    """covers: L-4"""
    history = pages.trial(Full(point=pages.point("write", "out", 2), freed=True))
    assert said(history.runs[0])[0] == "write ENOSPC"
    assert pages.size(history.runs[0], "out") > 16384
    whole(pages, history)


def test_a_disk_without_entries_refuses_new_ones_alone(pages: Stage) -> None:
    history = pages.trial(Full(point=pages.point("mkdir", "made"), what=ENTRIES))
    assert said(history.runs[0]) == ["mkdir ENOSPC"]
    assert pages.size(history.runs[0], "out") == 65536
    assert only(history).fired == 1
    whole(pages, history)


def test_a_disk_that_fills_when_nothing_more_is_written_did_not_fire(pages: Stage) -> None:
    history = pages.trial(Full(point=Point(call="mkdir", path="$CWD/made", nth=1)))
    assert only(history).fired == 0
    assert only(history).note == "nothing needed room after that"


def test_a_disk_fills_during_recovery(pages: Stage) -> None:
    """covers: M-13"""
    crash = Kill(point=pages.point("write", "out", 2))
    history = pages.trial(crash, Full(point=Point(call="write", path="$CWD/out", nth=1), phase="restart"))
    recovery = history.run("recovery")
    assert recovery is not None
    assert said(recovery) == ["write ENOSPC"] * 4
    whole(pages, history)


def test_a_file_may_not_grow_beyond_its_limit(pages: Stage) -> None:
    history = pages.trial(Limit(what=SIZE, most=40000))
    assert said(history.runs[0]) == ["short 7232", "write EFBIG"]
    assert only(history).fired == 2
    whole(pages, history)


HUNGRY = """
import errno, os
held = []
def more(what, *arguments):
    try:
        held.append(what(*arguments))
    except (OSError, MemoryError) as error:
        print(type(error).__name__, errno.errorcode.get(getattr(error, 'errno', 0), ''), flush=True)
open('mark', 'w').close()
for _ in range(80):
    more(os.open, '/dev/null', os.O_RDONLY)
more(bytearray, 64 << 20)
"""


@pytest.mark.parametrize(
    ("what", "most", "line", "count"),
    [(DESCRIPTORS, 64, "OSError EMFILE", 20), (MEMORY, 60 << 20, "MemoryError ", 1)],
)
def test_no_more_than_the_limit(tmp_path: Path, what: str, most: int, line: str, count: int) -> None:
    """covers: M-19"""
    with staged(tmp_path, HUNGRY) as stage:
        assert said(stage.trial().runs[0]) == []
        history = stage.trial(Limit(what=what, most=most))
        lines = said(history.runs[0])
        assert set(lines) == {line}
        assert abs(len(lines) - count) <= 3, lines  # the interpreter itself holds a few
        assert only(history).fired >= len(lines)
        assert said(starts(history)[-1]) == []


def test_a_limit_that_is_never_met_did_not_fire(pages: Stage) -> None:
    history = pages.trial(Limit(what=DESCRIPTORS, most=64))
    assert (only(history).fired, only(history).note) == (0, "it never needed more")


FAMILY = """
import os
for number in range(3):
    try:
        child = os.fork()
    except OSError as error:
        print('fork', error.errno, flush=True)
        continue
    if not child:
        with open(f'part-{number}', 'w') as part:
            part.write('whole')
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_no_new_process_beyond_the_limit(tmp_path: Path) -> None:
    with staged(tmp_path, FAMILY) as stage:
        history = stage.trial(Limit(what=PROCESSES, most=1))
        assert said(history.runs[0]) == ["0", "fork 11", "fork 11"]
        assert only(history).fired == 2
        assert said(starts(history)[-1]) == ["0"] * 3


def test_one_child_dies_and_the_rest_live_on(tmp_path: Path) -> None:
    with staged(tmp_path, FAMILY) as stage:
        fault = KillOne(point=stage.point("write", "part-1"), role="a child of python")
        history = stage.trial(fault)
        assert said(history.runs[0]) == ["0", "9", "0"]
        assert (only(history).fired, only(history).matched) == (1, True)
        assert (stage.size(history.runs[0], "part-1"), stage.size(history.runs[0], "part-2")) == (0, 5)
        assert said(starts(history)[-1]) == ["0"] * 3


def test_one_child_dies_during_recovery(tmp_path: Path) -> None:
    with staged(tmp_path, FAMILY) as stage:
        crash = Kill(point=stage.point("write", "part-0"))
        child = KillOne(point=Point(call="write", path="$CWD/part-2", nth=1), role="a child", phase="restart")
        history = stage.trial(crash, child)
        recovery = history.run("recovery")
        assert recovery is not None and said(recovery) == ["0", "0", "9"]


def test_the_first_process_is_never_the_one(tmp_path: Path) -> None:
    with staged(tmp_path, PAGES) as stage:
        history = stage.trial(KillOne(point=stage.point("write", "out", 2), role="a child"))
        assert only(history).fired == 0
        assert "first" in only(history).note
        whole(stage, history)


CLOCK = """
import time
wall, steady = time.time(), time.monotonic()
open('mark', 'w').close()
time.sleep(0.01)
print(round((time.time() - wall) / 100), time.monotonic() - steady < 50, flush=True)
"""


@pytest.mark.parametrize("seconds", [-3600.0, 86400.0])
def test_the_wall_clock_jumps_and_no_other_one_does(tmp_path: Path, seconds: float) -> None:
    with staged(tmp_path, CLOCK) as stage:
        history = stage.trial(Jump(point=stage.point("openat|open", "mark"), seconds=seconds))
        assert said(history.runs[0]) == [f"{round(seconds / 100)} True"]
        assert only(history).fired == 1
        assert said(starts(history)[-1]) == ["0 True"]


def test_a_program_that_does_not_ask_is_not_met(pages: Stage) -> None:
    history = pages.trial(Jump(point=pages.point("write", "out", 4), seconds=5.0))
    assert only(history).fired == 0


def test_a_new_program_in_the_same_process_sees_the_jump(tmp_path: Path) -> None:
    script = "import os; open('mark', 'w').close(); os.execv('/bin/date', ['date', '+%Y'])"
    with staged(tmp_path, script) as stage:
        years = [
            int(said(stage.trial(*faults).runs[0])[0])
            for faults in ((), (Jump(point=stage.point("openat|open", "mark"), seconds=3 * 366 * 86400.0),))
        ]
        assert years[1] - years[0] == 3


GO = """
package main
import ("fmt"; "os"; "time")
func main() {
    before := time.Now()
    os.WriteFile("mark", []byte("x"), 0o644)
    after := time.Now()
    fmt.Println(after.Unix() - before.Unix() > 80000, after.Sub(before) < 50 * time.Second)
}
"""


@pytest.mark.needs("go")
def test_a_static_program_sees_the_jump(tmp_path: Path) -> None:
    source = tmp_path / "clock.go"
    source.write_text(GO)
    files = {"clock": compiled(source).read_bytes()}
    with staged(tmp_path, files=files) as stage:
        stage.bench.command = stage.command(("/bin/sh", "-c", "chmod +x clock; exec ./clock"))
        history = stage.trial(Jump(point=stage.point("openat", "mark"), seconds=86400.0))
        assert said(history.runs[0]) == ["true true"]
        assert only(history).fired == 1


# Keeps until when to rest, by a clock that counts from the machine's start.
RESTS = """
import os, time
left_s = float(open('until').read()) - time.monotonic() if os.path.exists('until') else 0
if {limit} or left_s < 60:
    time.sleep(min(max(left_s, 0), 0.01))
else:
    time.sleep(left_s)
with open('until', 'w') as file:
    file.write(str(time.monotonic() + 0.01))
print(time.monotonic() > 50 * 86400)
"""


@pytest.mark.parametrize("limit", [True, False])
def test_what_was_kept_by_the_monotonic_clock_is_wrong_after_the_machine_was_started_anew(
    tmp_path: Path, limit: bool
) -> None:
    """covers: L-6"""
    with staged(tmp_path, RESTS.replace("{limit}", str(limit))) as stage:
        history = stage.trial(Uptime(), patience=Patience(deadline_s=0.5, hard_s=40.0))
    assert only(history).fired == 1
    first, again = history.runs[0], history.runs[-1]
    assert (first.end.how, said(first)) == (EXITED, ["True"])
    assert (again.end.how, said(again)) == ((EXITED, ["False"]) if limit else (DEADLINE, []))
    if not limit:
        assert again.end.wait is not None and 49 * 86400 < again.end.wait.limit_s <= 50 * 86400 + 1


UNTIL = """
import ctypes, time
libc = ctypes.CDLL(None)
until = (ctypes.c_long * 2)(int(time.time()) - 1, 0)
open('mark', 'w').close()
time.time()
libc.clock_nanosleep(0, 1, until, None)
"""


def test_a_wait_until_a_time_of_the_wall_clock_makes_the_trial_unknown(tmp_path: Path) -> None:
    with staged(tmp_path, UNTIL) as stage:
        history = stage.trial(Jump(point=stage.point("openat|open", "mark"), seconds=5.0))
        assert only(history).fired == 0
        assert "waits until" in only(history).note


def _faults(stage: Stage) -> list[AnyFault]:
    point = stage.point("write", "out", 2)
    return [Full(point=point), Limit(what=SIZE, most=9), KillOne(point=point, role="x"), Jump(point=point, seconds=1.0)]


def test_what_a_fault_did_is_gone_after_it_also_if_the_body_raised(pages: Stage) -> None:
    for fault in _faults(pages):
        with pages.bench.image_from("S0") as image:
            before = pages.zygote.free_bytes(image)
            scene = Scene(zygote=pages.zygote, image=image, start="S0", real=str)
            with pytest.raises(KeyError), fault.inject(scene):
                raise KeyError
            assert (scene.tampers, scene.wall, pages.zygote.free_bytes(image)) == ([], None, before)


BUSY = """
import threading, time
def read():
    for _ in range(30000):
        time.time()
threads = [threading.Thread(target=read) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_a_program_that_reads_the_time_all_the_time_is_let_go(tmp_path: Path) -> None:
    with staged(tmp_path, BUSY) as stage:
        wall = WallClock(counts=True)
        gate = GateOrder(calls=frozenset({"openat"}), mask=str, wall=wall)
        with stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
            conducted = conduct(sandbox, stage.bench.command, gate=gate, patience=PATIENT)
        assert (conducted.end.how, conducted.end.code) == (EXITED, 0)
        assert "too often" in wall.trouble
        assert wall.reads < 60000
