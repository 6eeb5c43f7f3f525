"""Power cuts and bad input: a sentence with the next step, bounded in time, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.errors import TargetError
from blackstart.gate import Launched, launch
from blackstart.power import Recording, State, model
from blackstart.testing import crash_states, materialise, power, record
from tests.live.power.test_job import blackstart

pytestmark = pytest.mark.live


@pytest.fixture
def state(tmp_path: Path) -> Path:
    place = tmp_path / "state"
    place.mkdir()
    return place


def recorded(state: Path, program: str) -> Recording:
    return record([sys.executable, "-I", "-S", "-c", "import os\n" + program], state=state, cwd=state)


def disks(recording: Recording, place: Path, *models: str, limit: int = 60) -> Iterator[dict[str, bytes]]:
    for one in crash_states(recording, *models, limit=limit):
        materialise(recording, one, place)
        yield {p.name: p.read_bytes() for p in place.iterdir()}
        shutil.rmtree(place)


@pytest.mark.parametrize("program", ["pass", "open('/dev/null', 'w').write('x')"], ids=["nothing", "outside its state"])
def test_a_program_that_writes_nothing_there_is_undecided(tmp_path: Path, program: str) -> None:
    ended = blackstart(tmp_path, "power", "--trials", "5", "--", sys.executable, "-I", "-S", "-c", program)
    assert ended.returncode == 3, ended.stderr
    assert "no trial of kind power is possible" in ended.stderr and "blackstart plan" in ended.stderr


def test_what_a_program_writes_outside_its_state_is_not_recorded(tmp_path: Path, state: Path) -> None:
    recording = recorded(state, f"open({str(tmp_path / 'elsewhere')!r}, 'w').write('x')")
    assert not list(crash_states(recording, "ext4", "posix"))
    assert (tmp_path / "elsewhere").read_bytes() == b"x"


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "os._exit(3)", "os.read(os.pipe()[0], 1)"])
def test_a_recording_that_is_cut_off_is_refused(
    tmp_path: Path, state: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    command = [sys.executable, "-I", "-S", "-c", f"import os; open('f', 'w').close(); {ending}"]
    with pytest.raises(TargetError, match="did not end with status 0"):
        record(command, state=state, cwd=state, timeout_s=5)
    assert os.listdir(temporary) == []


def test_a_command_that_cannot_be_executed_is_told_at_once(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(TargetError, match=r"cannot start .*: No such file"):
        record(["./no-such-program"], state=state, cwd=state)
    assert os.listdir(temporary) == []


def test_state_on_another_file_system(tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs /dev/shm on a file system of its own")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        state = Path(elsewhere, "state")
        state.mkdir()
        (state / "f").write_bytes(b"old")
        recording = recorded(state, "f = open('f', 'w'); f.write('n' * 9000); f.close()")
        assert not recording.uncovered
        assert any(one["f"] not in (b"old", b"n" * 9000) for one in disks(recording, tmp_path / "disk", "ext4"))


def test_hard_links_stay_links_on_every_disk(tmp_path: Path, state: Path) -> None:
    (state / "a").write_bytes(b"old")
    os.link(state / "a", state / "b")
    recording = recorded(state, "os.link('a', 'c'); f = os.open('b', 1); os.write(f, b'new'); os.fsync(f)")
    assert not recording.uncovered
    count = 0
    for one in crash_states(recording, "ext4", "posix", limit=60):
        materialise(recording, one, tmp_path / "disk")
        assert len({p.stat().st_ino for p in (tmp_path / "disk").iterdir()}) == 1
        shutil.rmtree(tmp_path / "disk")
        count += 1
    assert count


def test_a_sparse_file_of_a_gigabyte_costs_what_is_written(tmp_path: Path, state: Path) -> None:
    with open(state / "f", "wb") as file:
        file.truncate(200 << 20)
    recording = recorded(state, "f = os.open('f', 1); os.pwrite(f, b'x' * 5000, 100 << 20); os.fsync(f)")
    assert recording.spill.bytes < 1 << 20
    assert 1 <= len(list(islice(crash_states(recording, "posix"), 50)))


@pytest.mark.parametrize(
    "program",
    [
        "f = os.open('f', 2); os.rename('g', 'f'); os.write(f, b'to the old one'); os.fsync(f)",
        "f = os.open('f', 2); os.unlink('f'); os.write(f, b'to nobody'); os.fsync(f); open('f', 'w').write('another')",
    ],
    ids=["replaced", "unlinked"],
)
def test_a_file_that_loses_its_name_while_it_is_open(tmp_path: Path, state: Path, program: str) -> None:
    (state / "f").write_bytes(b"old")
    (state / "g").write_bytes(b"new")
    recording = recorded(state, program)
    assert not recording.uncovered
    last = recording.order(model("kill9")).effects
    materialise(recording, State(len(recording.micros), last), tmp_path / "last")
    assert {p.name: p.read_bytes() for p in (tmp_path / "last").iterdir()} == {
        p.name: p.read_bytes() for p in state.iterdir()
    }
    for one in disks(recording, tmp_path / "disk", "ext4", "xfs", "btrfs"):
        assert b"to " not in one.get("f", b"") or one.get("g") == b"new", "the old file only under its old name"


def test_a_restart_that_hangs_on_most_states_is_found_within_its_time(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, signal\n"
        "while os.path.exists('f.tmp') or (os.path.exists('f') and open('f').read() != 'x' * 9000):\n"
        "    signal.pause()\n"
        "open('f.tmp', 'w').write('x' * 9000); os.rename('f.tmp', 'f'); os.write(1, b'saved\\n')\n"
    )
    (tmp_path / "f").write_text("x" * 9000)
    words = ("power", "--model", "xfs", "--trials", "3", "--json", "r.json", "--", sys.executable, "-S", "app.py")
    ended = blackstart(tmp_path, *words)
    assert ended.returncode == 1, ended.stderr
    found = json.loads((tmp_path / "r.json").read_text())["findings"]
    assert any("has not ended" in line for f in found for line in f["evidence"]), found


def test_a_program_that_speaks_on_and_on_is_ended_in_time(tmp_path: Path) -> None:
    speaks = "import os, time\nwhile True:\n    os.write(1, b'.')\n    time.sleep(0.05)\n"
    began_s = time.monotonic()
    with pytest.raises(TargetError, match="did not end with status 0"):
        record([sys.executable, "-I", "-S", "-c", speaks], state=tmp_path, cwd=tmp_path, timeout_s=1)
    assert time.monotonic() - began_s < 10


def test_an_interruption_leaves_no_program_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Launched] = []

    def noted(*arguments: Any, **named: Any) -> Launched:
        started.append(launch(*arguments, **named))
        return started[-1]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(power, "launch", noted)
    monkeypatch.setattr(power, "_serve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(["sleep", "60"], state=tmp_path, cwd=tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)
