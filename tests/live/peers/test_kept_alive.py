"""A client that has TCP watch over its connection is not called hung where the peer is silent; its twin is.

covers: R-20
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from blackstart.core.history import DEADLINE
from blackstart.core.verdict import FAILED, UNKNOWN
from blackstart.faults.peer import SILENT, Peer
from blackstart.faults.point import Point
from blackstart.oracles import end
from blackstart.targets import Patience
from tests.live.peers.test_clients import BLOCKING, COMPANION, INET
from tests.live.trials.stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
# The oracle wants to have seen five seconds at least.
JOB = Patience(deadline_s=5.2, hard_s=40.0)
WATCHED = BLOCKING.replace(
    "; ask(s); ask(s)",
    """
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option, value in ((socket.TCP_KEEPIDLE, 3), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
    s.setsockopt(socket.IPPROTO_TCP, option, value)
ask(s)""",
)


@pytest.mark.parametrize(
    ("script", "state", "outcome", "consequence"),
    [(BLOCKING, "blocked", FAILED, "hung"), (WATCHED, "kept", UNKNOWN, "")],
    ids=["nobody watches", "TCP watches"],
)
def test_what_a_silent_peer_makes_of_it(
    tmp_path: Path, script: str, state: str, outcome: str, consequence: str
) -> None:
    """Five seconds, and three of grace, are past: the peer is silent, and its kernel answers the probes."""
    with staged(tmp_path, script) as stage:
        stage.bench.companions = (stage.command((sys.executable, "-c", COMPANION)),)
        fault = Peer(point=Point(call="connect", path=INET, nth=1), how=SILENT)
        history = stage.trial(fault, patience=JOB, rerun=False)
        (verdict,) = end.judge(history, stage.bench.calibration)
    run = history.runs[0]
    assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == state, run.end
    assert (verdict.outcome, verdict.consequence) == (outcome, consequence), verdict
