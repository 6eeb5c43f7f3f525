"""Bad input and hard circumstances: a sentence with the next step, the right exit status, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.programs import running
from tests.live.programs.running import BLACKSTART, PYTHON, TARGETS, Ran
from tests.live.programs.traces import Traces, files

pytestmark = pytest.mark.live
COUNTER = [PYTHON, str(TARGETS / "counter.py")]
# The program's last words may hold its traceback; ours must not be there.
OUR_OWN = re.compile(r"src/blackstart/|a defect in blackstart|^Traceback", re.MULTILINE)
WRONG_USAGE, UNDECIDED, INTERRUPTED = 2, 3, 130
# For what is refused; wide enough that no clock decides. Who is to break anything is given a number of trials instead.
BUDGET = "60s"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "count.json").write_text('{"count": 3}\n')
    return directory


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


def run(
    command: list[str],
    work: Path,
    *options: str,
    budget: str = BUDGET,
    before: tuple[str, ...] = (),
    timeout_s: float = 400.0,
) -> Ran:
    """A run, after which every file of the program's directory is as it was."""
    standing = files(work)
    ran = running.run(command, work, *options, budget=budget, before=before, timeout_s=timeout_s)
    assert files(work) == standing, ran.out
    return ran


def assert_refused(ran: Ran, status: int, *words: str) -> None:
    """A message of our own with a next step, and no traceback."""
    assert ran.status == status, ran.out
    assert not OUR_OWN.search(ran.out), ran.out
    message = re.search(r"^blackstart: (\S.{15,})", ran.out, re.MULTILINE)
    assert message, ran.out
    assert re.search(r"^\s+next:\s+\S", ran.out, re.MULTILINE), ran.out
    for word in words:
        assert word in ran.out, ran.out


def assert_reported(ran: Ran, *statuses: int) -> None:
    assert ran.status in statuses, ran.out
    assert not OUR_OWN.search(ran.out), ran.out
    assert ran.report["exit_status"] == ran.status


def test_unknown_command(work: Path) -> None:
    assert_refused(run(["no-such-program-here"], work), WRONG_USAGE, "no-such-program-here")


def test_not_executable(work: Path) -> None:
    (work / "job.sh").write_text("#!/bin/sh\necho done\n")
    assert_refused(run(["./job.sh"], work), WRONG_USAGE, "job.sh")


def test_a_directory_is_no_program(work: Path) -> None:
    (work / "job").mkdir()
    assert_refused(run(["./job"], work), WRONG_USAGE, "job")


def test_no_interpreter(work: Path) -> None:
    (work / "job.sh").write_text("#!/no/such/shell\necho done\n")
    (work / "job.sh").chmod(0o755)
    assert_refused(run(["./job.sh"], work), WRONG_USAGE, "job.sh")


def test_no_command(work: Path) -> None:
    assert_refused(run([], work), WRONG_USAGE)


def test_missing_state_path(work: Path) -> None:
    ran = run(COUNTER, work, "--state", "no-such-directory")
    assert_refused(ran, WRONG_USAGE, "no-such-directory")


def test_the_control_run_fails(work: Path) -> None:
    ran = run(["sh", "-c", "echo 'the pump is off' >&2; exit 4"], work)
    assert_refused(ran, UNDECIDED, "4", "the pump is off")


def test_the_control_run_dies_of_a_signal(work: Path) -> None:
    assert_refused(run(["sh", "-c", "kill -SEGV $$"], work), UNDECIDED, "SEGV")


def test_the_check_fails_on_a_clean_run(work: Path) -> None:
    assert_refused(run(COUNTER, work, "--check", "exit 5"), UNDECIDED, "check")


def test_a_program_that_never_ends(work: Path) -> None:
    ran = run(["sleep", "100000"], work, budget="20s")
    assert_refused(ran, UNDECIDED)
    assert ran.elapsed_s < 100


def test_a_program_that_ends_at_once(work: Path) -> None:
    """Nothing was tried, so nothing can be said."""
    ran = run(["true"], work)
    assert ran.status == UNDECIDED, ran.out
    assert not OUR_OWN.search(ran.out), ran.out


def test_a_program_that_reads_a_terminal(work: Path) -> None:
    ran = run([PYTHON, "-c", "import getpass; open('/dev/tty').readline()"], work)
    assert_refused(ran, UNDECIDED, "/dev/tty", "asks a terminal")


def test_a_program_that_wants_an_answer(work: Path) -> None:
    ran = run([PYTHON, "-c", "print('hello', input('name? '))"], work)
    assert_refused(ran, UNDECIDED, "--stdin")


def test_a_program_that_needs_a_peer(work: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        ask = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()"
        assert subprocess.run([PYTHON, "-c", ask], check=False).returncode == 0
        assert_refused(run([PYTHON, "-c", ask], work), UNDECIDED, f"127.0.0.1:{port}", "refuses")


def test_a_program_that_needs_a_socket_of_the_host(work: Path, tmp_path: Path) -> None:
    address = str(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        ask = f"import socket; socket.socket(socket.AF_UNIX).connect({address!r})"
        ran = run([PYTHON, "-c", ask], work)
        assert_refused(ran, UNDECIDED, f"--allow socket:{address}")


def test_output_and_names_that_are_no_text(work: Path) -> None:
    name = os.fsencode(work) + b"/caf\xe9 \xff.dat"
    with open(name, "wb") as file:
        file.writelines(b"\xff\xfe line %d\n" % number for number in (1, 2, 3))
    ran = run([PYTHON, str(TARGETS / "no_text.py"), os.fsdecode(b"caf\xe9 \xff.dat")], work, "--trials", "60")
    assert_reported(ran, 1)
    assert any("caf" in json.dumps(finding) for finding in ran.defects), ran.said()


def test_ten_thousand_state_files(work: Path) -> None:
    for number in range(10_000):
        (work / f"record-{number:05}").write_text(f"{number}\n")
    ran = run(COUNTER, work, "--only", "kill", "--trials", "12", timeout_s=400)
    assert_reported(ran, 0)


def test_a_sparse_state_file_of_five_gigabytes(work: Path) -> None:
    with (work / "disk.img").open("wb") as file:
        file.truncate(5 << 30)
        file.seek(3 << 30)
        file.write(b"data")
    ran = run(COUNTER, work, "--state", ".", "--only", "kill", "--trials", "12")
    assert_reported(ran, 0)
    assert (work / "disk.img").stat().st_blocks * 512 < 1 << 20


@pytest.mark.needs("unshare")
def test_no_namespaces(work: Path) -> None:
    """A user namespace in which no further one may be made, as in most containers."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    before = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid)
    ran = run(COUNTER, work, "--trials", "40", before=before)
    if ran.status in (0, 1):
        assert_reported(ran, 0)
        assert ran.report["isolation"] == "landlock", ran.out
        assert "landlock" in ran.out, ran.out
    else:
        assert_refused(ran, UNDECIDED, "namespace")


@pytest.mark.needs("unshare", "setpriv")
def test_root_without_any_capability(work: Path) -> None:
    """As `--cap-drop ALL` leaves it in a container where no user namespace may be made."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$0" "$@"'
    before = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid)
    ran = run(COUNTER, work, "--only", "kill", "--trials", "4", before=before)
    assert_reported(ran, 0)
    assert ran.report["isolation"] == "landlock", ran.out


@pytest.mark.needs("unshare")
def test_inside_a_container_with_one_user(work: Path) -> None:
    """Root of a user namespace that has only this one id: rootless containers are like that."""
    ran = run(COUNTER, work, "--trials", "60", before=("unshare", "--user", "--map-root-user"))
    assert_reported(ran, 0)


def test_no_seccomp(work: Path) -> None:
    ran = run(COUNTER, work, before=(sys.executable, str(TARGETS / "without_seccomp.py")))
    assert_refused(ran, UNDECIDED, "seccomp")


@pytest.mark.needs("unshare")
def test_no_space_for_the_results(work: Path) -> None:
    """The work area is a disk of its own that is full."""
    fill = (
        f'mount -t tmpfs -o size=64k none "{work}" && cd "{work}" && echo \'{{"count": 3}}\' > count.json'
        ' && dd if=/dev/zero of=filler bs=4k 2> /dev/null; exec "$0" "$@"'
    )
    root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    ran = run(COUNTER, work, before=("unshare", "--mount", *root, "sh", "-c", fill))
    assert_refused(ran, WRONG_USAGE, "space")


def test_blackstart_inside_blackstart(work: Path) -> None:
    inner = [str(BLACKSTART), "run", "--budget", "10s", "--trials", "3", "--", *COUNTER]
    ran = run(inner, work, "--only", "kill", "--trials", "3")
    assert not OUR_OWN.search(ran.out), ran.out
    if ran.status not in (0, 1):
        assert_refused(ran, UNDECIDED, "start it from outside")


def test_an_interruption_gives_the_report_so_far(work: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    process = subprocess.Popen(
        [str(BLACKSTART), "run", "--budget", "60s", "--json", str(path), "--", *COUNTER],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "breaking:" in line or line.strip() == "- breaking":
            process.send_signal(signal.SIGINT)
            break
    out = "".join(lines) + process.communicate(timeout=500)[0]
    assert process.returncode == INTERRUPTED, out
    assert not OUR_OWN.search(out), out
    assert "Exit status 130" in out, out
    assert json.loads(path.read_text())["exit_status"] == INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_early_interruption_is_clean(number: signal.Signals, work: Path) -> None:
    process = subprocess.Popen(
        [str(BLACKSTART), "run", "--", *COUNTER], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    first = process.stdout.readline()
    process.send_signal(number)
    out = first + process.communicate(timeout=500)[0]
    assert process.returncode == INTERRUPTED, out
    assert not OUR_OWN.search(out), out


def moments() -> list[float]:
    """When to kill, in seconds after the start: one random moment in each second of a run; `make kills` takes 100."""
    count = int(os.environ.get("BLACKSTART_KILLS", "6"))
    draws = random.Random(count)
    return [round(0.05 + 6.0 * (number + draws.random()) / count, 3) for number in range(count)]


@pytest.mark.parametrize("after_s", moments())
def test_a_killed_blackstart_leaves_nothing(after_s: float, work: Path, traces: Traces) -> None:
    standing = files(work)
    process = subprocess.Popen(
        [str(BLACKSTART), "run", "--budget", "30s", "--", *COUNTER],
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()  # this one process: what it started must end by itself
    process.wait()
    traces.assert_none()
    assert files(work) == standing
    again = run(COUNTER, work, "--trials", "3", "--only", "kill")
    assert_reported(again, 0)
