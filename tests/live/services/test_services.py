"""`blackstart run` on small servers: what is found, what is not, and what is said of those that cannot be broken.

covers: L-2, M-6, SS-5
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run

PROGRAMS = Path(__file__).parent / "programs"
WORK, CHECK = f"{PYTHON} work.py", f"{PYTHON} check.py"

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "service"
    shutil.copytree(PROGRAMS, made)
    return made


def served(place: Path, mode: str, *options: str) -> Ran:
    return run(
        [PYTHON, "server.py"], place, "--ready", "tcp:8123", "--workload", WORK, "--check", CHECK, *options,
        env={"MODE": mode},
    )  # fmt: skip


def test_a_careful_server_gives_nothing(place: Path) -> None:
    ran = served(place, "good", "--trials", "16", "--only", "kill,errno")
    assert ran.status == 0 and not ran.defects, ran.said()
    assert ran.report["calibration"]["null_trials"] >= 3 and not ran.report["muted"], ran.said()


@pytest.mark.slow
def test_what_a_repeated_workload_asks_for_is_counted(place: Path) -> None:
    (place / "count.sh").write_text(f"{CHECK} | sed -n 's/^have /x /p' | sed -n '$=' | sed 's/^/count /'\n")
    ran = run(
        [PYTHON, "server.py"], place, "--ready", "tcp:8123", "--workload", WORK, "--check", "sh count.sh",
        "--trials", "1", "--only", "limit",
    )  # fmt: skip
    assert ran.status != 1 and not ran.defects, ran.said()
    assert ran.report["impact"], ran.said()


def test_one_that_writes_in_place_does_not_start_again(place: Path) -> None:
    ran = served(place, "in-place", "--trials", "6", "--only", "kill")
    assert ran.status == 1 and {f["consequence"] for f in ran.defects} == {"stuck"}, ran.said()
    assert "state.json" in str(ran.defects[0]["paths"])


def test_one_that_writes_when_it_stops_is_write_behind(place: Path) -> None:
    ran = served(place, "late", "--trials", "4", "--only", "kill")
    assert {(f["consequence"], f["label"]) for f in ran.defects} == {("lost", "policy")}, ran.said()
    assert ran.status == 0


@pytest.mark.parametrize(("mode", "found"), [("good", set()), ("orphans", {"leaked"})])
def test_a_supervisor_takes_its_children_along_however_often_it_is_told(
    place: Path, mode: str, found: set[str]
) -> None:
    ran = run(
        [PYTHON, "supervisor.py"], place, "--ready", "log:^ready", "--only", "signal", "--trials", "9",
        env={"MODE": mode},
    )  # fmt: skip
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    signals = next(kind for kind in ran.report["trials"]["kinds"] if kind["kind"] == "signal")
    assert signals["passed"] + signals["failed"] >= 5, ran.said()


# The dead are those of test_heartbeat and test_periodic in short.
@pytest.mark.parametrize("mode", [pytest.param("dead", marks=pytest.mark.slow), "hung", "leaked", "unclean"])
def test_what_an_error_does_to_the_rest_of_its_life(place: Path, mode: str) -> None:
    ran = served(place, mode, "--trials", "4", "--only", "errno")
    assert {f["consequence"] for f in ran.defects} == {mode}, ran.said()


FORGETS = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (os.unlink('kept'), os._exit(0)))
os.path.exists('kept') or open('kept', 'w').close()
while True:
    time.sleep(60)
"""
TAKES_8123 = "import socket, time; s = socket.create_server(('127.0.0.1', 8123)); time.sleep(60)"


@pytest.mark.parametrize(
    ("options", "program", "said"),
    [
        ((), "import socket, time; s = socket.create_server(('', 8124)); time.sleep(60)", "--ready tcp:8124"),
        (("--ready", "tcp:8123"), "import sys; sys.exit('no room')", "ended (exit status 1) before it was ready"),
        (("--ready", "sleep:100ms"), "import time; time.sleep(0.2)", "ended by itself"),
        (("--ready", "sleep:1s"), "import os, time; os.fork() and os._exit(0); time.sleep(60)", "in the background"),
        (("--ready", "tcp:nine"), "0", "cannot be read"),
        (("--workload", "true"), "0", "--workload is for services"),
        (("--ready", "sleep:100ms", "--workload", "echo fail one"), "import time; time.sleep(60)", "`fail one`"),
        (("--ready", "sleep:100ms", "--workload", "exit 3"), "import time; time.sleep(60)", "exit status 3"),
        (("--ready", "sleep:100ms", "--with", "exit 5"), "import time; time.sleep(60)", "ended before the target"),
        (
            ("--ready", "sleep:100ms", "--workload", "echo have 1 >kept; echo ok 1", "--check", "cat kept; echo end"),
            FORGETS,
            "is gone after a stop and a start that nothing disturbs",
        ),
        (("--ready", "tcp:8123", "--with", f"MODE=good {PYTHON} server.py"), TAKES_8123, "has that port already"),
    ],
)
def test_what_is_said_of_a_service_that_cannot_be_tested(
    place: Path, options: tuple[str, ...], program: str, said: str
) -> None:
    ran = run([PYTHON, "-c", program], place, *options, budget="60s")
    assert ran.status in (2, 3) and said in " ".join(ran.out.split()), ran.said()
    assert "Traceback" not in ran.out
