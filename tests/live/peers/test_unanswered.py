"""A peer whose SYN has no answer, as behind a firewall that drops: what the kernel does about it, and what programs do.

covers: M-24, IF-1, R-20
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import DEADLINE, EXITED, History, Life, Run
from blackstart.core.verdict import FAILED, PASSED
from blackstart.faults.peer import OUTAGE_S, UNANSWERED, Peer
from blackstart.faults.point import Point
from blackstart.oracles import alive
from blackstart.targets import Patience, Service, parse_ready, service
from tests.live.peers.test_clients import COMPANION, HEAD, INET, INET6
from tests.live.trials.stage import SHORT, Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
# Longer than the kernel may take to send its SYN again, for the second time after 3 s.
WAITING = Patience(deadline_s=15.0, hard_s=60.0)
SERVING = Patience(deadline_s=15.0, hard_s=60.0, work_s=20.0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("unanswered")) as made:
        made.bench.companions = (made.command((sys.executable, "-c", COMPANION)),)
        yield made


def unanswered(stage: Stage, back_s: float = 0.0, patience: Patience = SHORT, path: str = INET) -> History:
    """A trial in which nobody answers from the first connect on."""
    fault = Peer(point=Point(call="connect", path=path, nth=1), how=UNANSWERED, back_s=back_s)
    history = stage.trial(fault, patience=patience, rerun=False)
    (injected,) = history.injected
    assert injected.fired and "SYN had no answer" in injected.note, injected.note
    return history


def told(run: Run) -> str:
    return run.text("stderr").decode().strip().rpartition("\n")[2]


CONNECTING = (
    HEAD
    + """
try:
    s = socket.create_connection(('127.0.0.1', 8099), LIMIT)
    ask(s)
except OSError as error:
    print(type(error).__name__, file=sys.stderr)
    sys.exit(1)
"""
)


@pytest.mark.parametrize(
    ("limit", "ends", "said"),
    [
        ("None", 0, b"answered 404\n"),  # the kernel sends its SYN again, and the peer is back by then
        ("0.5", 1, b""),
    ],
    ids=["without a limit", "with a limit"],
)
def test_it_hangs_as_long_as_the_program_lets_it(stage: Stage, limit: str, ends: int, said: bytes) -> None:
    stage.runs(CONNECTING.replace("LIMIT", limit))
    run = unanswered(stage, back_s=OUTAGE_S, patience=WAITING).runs[0]
    assert (run.end.how, run.end.code, printed(run)) == (EXITED, ends, said), (run.end, told(run))
    assert (told(run) == "TimeoutError") is not said


@pytest.mark.parametrize(("host", "path"), [("127.0.0.1", INET), ("::1", INET6)], ids=["IPv4", "IPv6"])
def test_for_long_it_is_a_wait_that_the_kernel_ends(stage: Stage, host: str, path: str) -> None:
    stage.runs(CONNECTING.replace("LIMIT", "None").replace("127.0.0.1", host))
    run = unanswered(stage, path=path).runs[0]
    assert run.end.how == DEADLINE and run.end.wait is not None
    assert (run.end.wait.state, run.end.wait.call) == ("timed", "connect") and run.end.wait.limit_s > 30


EVERYWHERE = (
    COMPANION.partition("socks = ")[0]
    + """
server = socket.create_server(('::', 8099), family=socket.AF_INET6, dualstack_ipv6=True)
serve(server)
"""
)


def test_a_peer_at_every_address_answers_at_none(tmp_path: Path) -> None:
    with staged(tmp_path, CONNECTING.replace("LIMIT", "0.5")) as stage:
        stage.bench.companions = (stage.command((sys.executable, "-c", EVERYWHERE)),)
        assert told(unanswered(stage, back_s=OUTAGE_S).runs[0]) == "TimeoutError"


# Asks its peer once for each client. The bad one has learnt from its first failure, for ever.
ASKING = (
    HEAD
    + """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server = socket.create_server(('127.0.0.1', 8092))
print('ready', flush=True)
is_gone = False
while True:
    client, _ = server.accept()
    with client:
        try:
            if is_gone:
                raise ConnectionError('it was gone before')
            with socket.create_connection(('127.0.0.1', 8099), timeout=1) as s:
                ask(s)
            client.sendall(b'ok')
        except OSError:
            is_gone = LEARNS
            client.sendall(b'fail')
"""
)
WORK = """
import socket
for number in range(2):
    try:
        with socket.create_connection(('127.0.0.1', 8092), timeout=3) as sock:
            print(sock.recv(100).decode() or 'info', number, flush=True)
    except OSError:
        print('info', number, flush=True)
"""


@pytest.mark.parametrize(("learns", "outcome"), [("False", PASSED), ("True", FAILED)], ids=["good", "bad"])
def test_a_service_tries_again_once_somebody_answers(
    stage: Stage, learns: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "NO_TRY_S", 5.0)  # else the bad one is watched for half a minute more
    monkeypatch.setattr(alive, "NO_TRY_S", 4.0)
    stage.runs(ASKING.replace("LEARNS", learns))
    workload = stage.command((sys.executable, "-c", WORK))
    monkeypatch.setattr(
        stage.bench, "service", Service(ready=parse_ready("log:ready", str(stage.cwd)), workload=workload)
    )
    history = unanswered(stage, patience=SERVING)
    life = history.runs[0].life
    assert life is not None and {act.how for act in life.acts} == {"fail"}, history.runs[0]
    chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(ready_s=0.5)),)
    (verdict,) = alive.judge(history, Calibration(chain=chain, is_service=True))
    assert (verdict.outcome, verdict.consequence) == (outcome, "dead" if outcome == FAILED else ""), verdict
