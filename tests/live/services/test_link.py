"""A bad link to a companion: who waits for ever is found, who has a time-out is not.

covers: L-3, T-1
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blackstart.faults.link import CUT, Link
from blackstart.faults.point import Point
from blackstart.faults.scene import RESTART
from tests.live.programs.running import PYTHON, run
from tests.live.trials.stage import staged

PROGRAMS = Path(__file__).parent / "programs"
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("mode", "trials", "found"), [("good", "8", set()), ("hung", "1", {"hung"})])
def test_who_has_a_time_out_survives_a_bad_link(mode: str, trials: str, found: set[str], tmp_path: Path) -> None:
    place = tmp_path / "service"
    shutil.copytree(PROGRAMS, place)
    ran = run(
        [PYTHON, "front.py"], place, "--ready", "tcp:8200", "--with", f"{PYTHON} backend.py",
        "--workload", f"{PYTHON} asks.py", "--only", "link", "--trials", trials, env={"MODE": mode},
    )  # fmt: skip
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    (links,) = ran.report["trials"]["kinds"]
    # The link's own counters told that each met packets.
    assert (links["passed"], links["failed"]) == (int(trials) - len(found), len(found)), ran.said()


ASKS = """
import socket, time
began = time.monotonic()
link = socket.create_connection(("127.0.0.1", 8201), 20)
link.sendall(b"name\\n")
print(link.recv(9), time.monotonic() - began > 1.5)
"""


def test_a_link_may_be_bad_during_recovery_alone(tmp_path: Path) -> None:
    with staged(tmp_path, ASKS) as stage:
        stage.bench.companions = (stage.command((PYTHON, str(PROGRAMS / "backend.py"))),)
        point = Point(call="sendto", path="socket:inet:127.0.0.1:8201", nth=1)
        history = stage.trial(Link(what=CUT, ports=(8201,), point=point, phase=RESTART))
    (injected,) = history.injected
    assert injected.fired and injected.fault.endswith("during recovery"), injected
    said = {run.phase: run.text("stdout") for run in history.runs}
    good = b"b'NAME\\n' False\n"
    assert said == {"run": good, "recovery": good.replace(b"False", b"True"), "restart": good}
