"""A companion that takes datagrams is broken as one of streams is; one at an abstract name is said not to be.

covers: M-24, R-20
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from blackstart.core.history import DEADLINE, Run
from blackstart.faults.peer import OUTAGE_S, REFUSED, SILENT, SLOW, Peer
from blackstart.faults.point import Point
from blackstart.gate import Recorder
from blackstart.trials.taping import OBSERVED
from tests.live.trials.stage import PATIENT, SHORT, Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
COMPANION = r"""
import os, socket
abstract = socket.socket(socket.AF_UNIX)
abstract.bind('\0blackstart-abstract')
abstract.listen()
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.path.exists('log'):
    os.unlink('log')
log.bind('log')
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('127.0.0.1', 8091))
while True:
    data, client = sock.recvfrom(100)
    sock.sendto(data.upper(), client)
"""
PATH = "socket:inet:127.0.0.1:8091"
CLIENT = """
import os, socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
CONNECT
sock.settimeout(LIMIT)
for number in range(3):
    for attempt in range(TRIES):
        try:
            SEND
            print(sock.recv(100).decode(), flush=True)
            break
        except OSError as error:
            if attempt == TRIES - 1:
                raise SystemExit(type(error).__name__)
            time.sleep(0.2)
"""
TO_NOBODY = CLIENT.replace("CONNECT", "").replace("SEND", "sock.sendto(b'ask', ('127.0.0.1', 8091))")
CONNECTED = CLIENT.replace("CONNECT", "sock.connect(('127.0.0.1', 8091))").replace("SEND", "sock.send(b'ask')")
ALL = b"ASK\nASK\nASK\n"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("datagrams")) as made:
        made.bench.companions = (made.command((sys.executable, "-c", COMPANION)),)
        yield made


def broken(stage: Stage, script: str, how: str, limit: str, tries: int) -> Run:
    stage.runs(script.replace("LIMIT", limit).replace("TRIES", str(tries)))
    fault = Peer(point=Point(call="sendto", path=PATH, nth=2), how=how, back_s=OUTAGE_S)
    history = stage.trial(fault, patience=SHORT, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history.runs[0]


def test_silence_blocks_who_waits_without_a_limit(stage: Stage) -> None:
    run = broken(stage, TO_NOBODY, SILENT, "None", 1)
    assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "blocked"
    assert printed(run) == b"ASK\n"


@pytest.mark.parametrize("how", [SILENT, REFUSED])
@pytest.mark.parametrize("script", [TO_NOBODY, CONNECTED], ids=["not connected", "connected"])
def test_who_asks_again_is_answered_when_it_is_back(stage: Stage, script: str, how: str) -> None:
    run = broken(stage, script, how, "0.5", 40)
    assert run.end.code == 0 and printed(run) == ALL, run


def test_refused_is_an_error_of_the_connected_and_slow_is_late(stage: Stage) -> None:
    run = broken(stage, CONNECTED, REFUSED, "5", 1)
    assert run.end.code == 1 and b"ConnectionRefusedError" in run.text("stderr"), run
    run = broken(stage, TO_NOBODY, SLOW, "5", 1)
    assert run.end.code == 0 and run.end.elapsed_s > 2


def test_where_a_clean_run_turns_to_is_learnt_and_an_abstract_name_is_said_to_be_left_out(stage: Stage) -> None:
    abstract = "\nsocket.socket(socket.AF_UNIX).connect('\\0blackstart-abstract')"
    abstract += "\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'line', os.path.abspath('log'))"
    stage.runs(TO_NOBODY.replace("LIMIT", "None").replace("TRIES", "1") + abstract)
    bench = stage.bench
    with bench.image_from("S0") as image, bench.zygote.sandbox(image) as sandbox:
        recorder = Recorder(mask=bench.masker, sites=True)
        run, seen = bench.start(sandbox, image, "clean", calls=OBSERVED, recorder=recorder, patience=PATIENT)
    assert run.end.code == 0 and bench.peers == {PATH: "udp"}
    sites = [o.site for o in seen.trace if o.call == "sendto" and o.path == PATH]
    assert sites == [("<string>:<module>:9",)] * 3
    assert "abstract" in seen.uncovered["socket:unix:@blackstart-abstract"]
    assert "datagrams" in seen.uncovered[f"socket:unix:{stage.cwd}/log"]
