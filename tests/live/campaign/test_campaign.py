"""The main job on small real programs, without the command line: what it keeps, that it repeats itself, what it leaves.

How whole runs look from outside is proved in tests/live/programs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from blackstart import campaign
from blackstart.campaign.campaign import Campaign
from blackstart.core.errors import BlackstartError, Undecided
from blackstart.core.options import Options
from blackstart.report import json as report_json
from blackstart.report.model import Report
from blackstart.report.progress import SilentProgress
from blackstart.sandbox import choose, probe
from blackstart.store import Store
from blackstart.targets import Patience
from blackstart.trials import Plan
from blackstart.trials.plan import decode, encode
from tests.live.programs.running import BLACKSTART
from tests.live.programs.traces import Traces, files

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
PYTHON = sys.executable

# Rewrites its notes in place: a kill or a full disk in the middle leaves nothing that can be read.
CARELESS = """
import json, os
notes = json.load(open('notes.json'))
notes.append('note %d' % len(notes))
with open('notes.json', 'w') as file:
    json.dump(notes, file)
print('saved', len(notes), flush=True)
"""
CAREFUL = """
import json, os, sys
try:
    notes = json.load(open('notes.json'))
    notes.append('note %d' % len(notes))
    with open('notes.new', 'w') as file:
        json.dump(notes, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename('notes.new', 'notes.json')
    print('saved', len(notes), flush=True)
except (OSError, ValueError) as error:
    sys.exit(f'not saved: {error}')
"""


class Program:
    """A script in a directory of its own with some notes."""

    def __init__(self, directory: Path, script: str) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "notes.json").write_text('["note 0", "note 1"]')
        self.write(script)

    def write(self, script: str) -> None:
        (self.directory / "app.py").write_text(script)

    def options(self, **more: object) -> Options:
        given = {"command": (PYTHON, "app.py"), "cwd": str(self.directory), "seed": 1, "jobs": 2, **more}
        return Options(**given)  # type: ignore[arg-type]


@pytest.fixture
def careless(tmp_path: Path) -> Program:
    return Program(tmp_path / "work", CARELESS)


@pytest.fixture(autouse=True)
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """Whatever a test does, nothing of it may stay."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    traces = Traces(temporary)
    monkeypatch.setenv(*traces.token)
    yield traces
    traces.assert_none()


def run(program: Program, **more: object) -> Report:
    """A run, after which the program's directory is as it was."""
    standing = files(program.directory)
    report = campaign.run(program.options(**more), SilentProgress())
    assert files(program.directory) == standing
    return report


def told(report: Report) -> str:
    return "\n".join([*(f"{f.label} {f.consequence} {f.fault}" for f in report.findings), *report.notes])


def test_a_run_finds_keeps_and_reports(careless: Program) -> None:
    report = run(careless, only=("kill", "errno"), trials=30)
    defects = [finding for finding in report.findings if finding.label == "defect"]
    assert defects, told(report)
    assert report.exit_status == 1
    assert {"corrupt", "lost"} & {finding.consequence for finding in defects}
    assert all("$CWD/notes.json" in finding.paths for finding in defects), told(report)
    assert all(finding.reproduced in ("2 of 2", "3 of 5", "4 of 5") for finding in defects)
    assert report.trials.total <= 30
    assert report.calibration.null_trials >= 10
    with Store(str(careless.directory), create=False) as store:
        kept = store.last_run()
        assert kept is not None
        assert str(kept.id) == report.run
        assert kept.report is not None
        assert kept.report == report_json.encode(report)
        assert {f.id for f in store.findings(kept.id)} == {finding.id for finding in report.findings}
        assert kept.trials >= report.trials.total
    for finding in report.findings:
        assert encode(msgspec.convert(finding.plan, Plan)) == encode(decode(msgspec.json.encode(finding.plan)))


def test_a_careful_program_gives_no_defect(tmp_path: Path) -> None:
    report = run(Program(tmp_path / "work", CAREFUL), trials=40)
    assert [f for f in report.findings if f.label == "defect"] == [], told(report)
    assert report.exit_status == 0
    assert report.muted == ()


def test_a_plan_breaks_and_keeps_nothing(careless: Program) -> None:
    standing = files(careless.directory)
    report = campaign.plan(careless.options(), SilentProgress())
    assert files(careless.directory) == standing
    assert not (careless.directory / ".blackstart").exists()
    assert report.mode == "plan"
    assert {one.kind for one in report.trials.planned} >= {"kill", "errno", "file"}
    assert report.trials.total == 0
    assert [(one.path, one.role) for one in report.surface.files if one.role == "state"] == [
        ("$CWD/notes.json", "state")
    ]
    assert report.doors


def plans(program: Program, seed: int) -> list[bytes]:
    """All plans of a run with this seed, as they would be written down."""
    made = Campaign(program.options(seed=seed), SilentProgress())
    seen = made.observe(choose(probe()), (), os.environ)
    try:
        ordered = made.choose(seen)
        return [encode(made.plan_of(one, number, Patience(), True)) for number, one in enumerate(ordered)]
    finally:
        seen.zygote.close()


def test_the_same_seed_gives_the_same_plans_in_the_same_order(careless: Program) -> None:
    first, second, third = plans(careless, 5), plans(careless, 5), plans(careless, 6)
    assert first == second
    assert len(third) == len(first)
    seeds = [[decode(plan).seed for plan in one] for one in (first, third)]
    assert all(a != b for a, b in zip(*seeds, strict=True))


def test_a_finding_replays_in_a_second_copy_after_edits_and_not_after_the_repair(
    careless: Program, tmp_path: Path
) -> None:
    report = run(careless, only=("kill",), trials=20)
    finding = msgspec.to_builtins(next(f for f in report.findings if f.label == "defect"))
    copy = Program(tmp_path / "elsewhere", "\n" * 20 + "# edited\n" + CARELESS)
    result = campaign.replay(finding, copy.options(), SilentProgress())
    assert result.outcome == "failed", result.lines
    assert any("fired in" in line for line in result.lines)
    assert any(line.startswith("restart:") for line in result.lines)
    copy.write(CAREFUL)
    repaired = campaign.replay(finding, copy.options(), SilentProgress())
    assert repaired.outcome != "failed", repaired.lines


def test_an_unknown_plan_is_refused_before_anything_is_started(careless: Program) -> None:
    began_s = time.monotonic()
    with pytest.raises(BlackstartError, match="plan cannot be read"):
        campaign.replay({"id": "x", "plan": {"kind": 1}}, careless.options(), SilentProgress())
    assert time.monotonic() - began_s < 5


def test_a_start_state_that_is_no_longer_reached_is_told(careless: Program) -> None:
    plan = msgspec.to_builtins(Plan(kind="null", start="S9"))
    with pytest.raises(BlackstartError, match="start state S9"):
        campaign.replay({"id": "x", "plan": plan}, careless.options(), SilentProgress())


def test_a_budget_that_calibration_does_not_fit_in(tmp_path: Path) -> None:
    """Though one run does: even on a busy machine it ends before it would be taken for one that never does."""
    slow = Program(tmp_path / "work", f"import time; time.sleep(1)\n{CARELESS}")
    with pytest.raises(Undecided, match="calibration") as caught:
        run(slow, budget_s=9.0)
    assert "--budget" in caught.value.next_step


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The forked workers: children of the command with its own command line."""

    def command(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    return [pid for pid in children if command(pid) == command(process.pid)]


def started(program: Program, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(BLACKSTART), "run", "--budget", "240s", *options, "--", PYTHON, "app.py"],
        cwd=program.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """What it says up to the line with this word; a timer ends it if it never says so."""
    timer = threading.Timer(200, process.kill)
    timer.start()
    said = b""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if word in line:
            break
    timer.cancel()
    return said


@pytest.mark.parametrize(
    ("moment", "status", "told"),
    [(b"- null trials", 3, b"next:"), (b"! critical", 1, b"CRITICAL")],
    ids=["nothing known", "a finding known"],
)
def test_a_worker_that_is_killed_from_outside_is_a_loud_error(
    tmp_path: Path, moment: bytes, status: int, told: bytes
) -> None:
    program = Program(tmp_path / "work", f"import time; time.sleep(0.2)\n{CARELESS}")
    process = started(program)
    said = read_until(process, moment)
    deadline_s = time.monotonic() + 100
    pids: list[int] = []
    while not pids and process.poll() is None:
        assert time.monotonic() < deadline_s
        earlier = workers_of(process)
        threading.Event().wait(0.3)
        pids = [pid for pid in workers_of(process) if pid in earlier]  # what is about to become another program is none
    os.kill(pids[0], signal.SIGKILL)
    rest, _ = process.communicate(timeout=500)
    assert process.returncode == status, said + rest
    assert b"worker was ended from outside" in b" ".join(rest.split())
    assert told in rest
    assert b"Traceback" not in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", [b"- null trials", b"- breaking", b"breaking:"], ids=bytes.decode)
def test_an_interruption_of_the_whole_process_group_gives_the_report_so_far(
    moment: bytes, number: signal.Signals, tmp_path: Path
) -> None:
    """As a terminal sends it: workers get it too, some of them in the moment in which they are forked."""
    program = Program(tmp_path / "work", f"import time; time.sleep(0.2)\n{CARELESS}")
    path = tmp_path / "report.json"
    process = started(program, "--json", str(path))
    said = read_until(process, moment)
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=500)
    assert process.returncode == 130, said + rest
    assert b"Traceback" not in rest, rest
    report = report_json.decode(path.read_bytes(), where="")
    assert (report.exit_status, report.mode) == (130, "run")
    assert any("interrupted" in cut.why for cut in report.trials.cut)
