"""Services in hard circumstances: a sentence with the next step, the right exit status, the budget kept, nothing left.

How long a run takes is asked as loosely as still tells one that keeps to its budget from one that waits for half a
minute in each start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run
from tests.live.programs.test_bad_input import OUR_OWN, UNDECIDED, WRONG_USAGE, assert_refused
from tests.live.programs.traces import Traces

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

LISTENS = """
import os, signal, socket, threading
with open("state", "w") as file:
    file.write("x")
{}
server = socket.create_server(("127.0.0.1", 8123))
while True:
    server.accept()[0].close()
"""
IGNORES_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
# What waits again and again is looked at for half a minute, to tell it from what waits for somebody.
KEEPS_WAITING = f"""
{IGNORES_TERM}
threading.Thread(target=lambda: [signal.sigtimedwait([signal.SIGUSR1], 0.3) for _ in range(1000)], daemon=True).start()
"""
# As fast as anybody takes it.
FLOODS = """
def flood():
    while True:
        os.write(1, b"x" * 65535 + b"\\n")
threading.Thread(target=flood, daemon=True).start()
"""
FILLS = """
log = os.open("service.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
try:
    while True:
        os.write(log, b"x" * (8 << 20))
except OSError:
    pass
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture(autouse=True)
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """Whatever a test does, nothing of it may stay."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    found = Traces(temporary)
    monkeypatch.setenv(*found.token)
    yield found
    found.assert_none()


def served(work: Path, what: str, *options: str, budget: str = "30s", before: tuple[str, ...] = ()) -> Ran:
    command = [PYTHON, "-c", LISTENS.format(what)]
    return run(command, work, "--ready", "tcp:8123", *options, budget=budget, before=before, timeout_s=550)


def test_a_check_that_hangs_is_named_and_not_waited_for_again(work: Path) -> None:
    ran = served(work, "", "--check", "sleep 1000", "--only", "kill")
    assert_refused(ran, UNDECIDED, "--check fails after a clean run: the check had not ended after")


def test_one_that_is_never_ready_is_named_within_a_short_budget(work: Path) -> None:
    ran = run([PYTHON, "-c", "import time; time.sleep(1000)"], work, "--ready", "tcp:8123", budget="12s")
    assert_refused(ran, UNDECIDED, "the service was not ready within", "clock_nanosleep", "more --budget")


def test_a_workload_that_hangs_is_named_within_a_short_budget(work: Path) -> None:
    ran = served(work, "", "--workload", "sleep 1000", budget="12s")
    assert_refused(ran, UNDECIDED, "the workload does not work", "it had not ended after")


def test_a_service_that_ignores_term_does_not_use_up_the_budget_by_being_waited_for(work: Path) -> None:
    """It is looked at once, and then not waited for any more."""
    ran = served(work, IGNORES_TERM, "--only", "kill", "--trials", "2", budget="240s")
    assert ran.status == 0 and not ran.defects and not OUR_OWN.search(ran.out), ran.said()
    assert sum(kind["passed"] for kind in ran.report["trials"]["kinds"]) == 2, ran.said()


@pytest.mark.parametrize("what", [KEEPS_WAITING, FLOODS], ids=["ignores TERM", "floods"])
def test_a_budget_that_is_too_short_for_it_is_kept_and_told(work: Path, what: str) -> None:
    ran = served(work, what, budget="6s")
    assert_refused(ran, UNDECIDED, "calibration alone", "--budget")
    assert ran.elapsed_s < 80, ran.said()


@pytest.mark.slow
def test_one_that_floods_its_output_is_judged_all_the_same(work: Path) -> None:
    ran = served(work, FLOODS, "--only", "kill", "--trials", "2", budget="200s")
    assert ran.status == 0 and not ran.defects and not OUR_OWN.search(ran.out), ran.said()


def test_a_log_that_fills_what_the_sandbox_has_is_told(work: Path) -> None:
    ran = served(work, FILLS, "--only", "kill")
    assert_refused(ran, UNDECIDED, "what a clean run writes does not fit here", "let it write less")


@pytest.mark.needs("unshare")
def test_a_full_disk_under_the_work_area_is_told(work: Path) -> None:
    fill = (
        f'mount -t tmpfs -o size=64k none "{work}" && cd "{work}" && dd if=/dev/zero of=filler bs=4k 2> /dev/null; '
        'exec "$0" "$@"'
    )
    root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    ran = served(work, "", before=("unshare", "--mount", *root, "sh", "-c", fill))
    assert_refused(ran, WRONG_USAGE, "space")
