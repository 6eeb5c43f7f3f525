"""A companion that takes datagrams beside streams on one port, as a name server does, and one at a port of clients.

covers: M-24, R-20, IF-5
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from blackstart.core.history import DEADLINE, Run
from blackstart.faults.peer import CLOSED, OUTAGE_S, REFUSED, RESET, SILENT, SLOW, Peer
from blackstart.faults.point import Point
from blackstart.gate import Recorder
from blackstart.trials.taping import OBSERVED
from tests.live.trials.stage import PATIENT, SHORT, Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
# What is short is answered by a datagram; of the rest only how it begins, and that there is more, which is to be had by
# a stream: as a name server answers.
COMPANION = r"""
import socket, threading
def whole(data):
    return data.upper() * 100
def streams(server):
    while True:
        one, _ = server.accept()
        try:
            while data := one.recv(100):
                one.sendall(whole(data) + b'\n')
        except ConnectionError:
            pass
        one.close()
server = socket.create_server(('127.0.0.1', 8053))
threading.Thread(target=streams, args=(server,), daemon=True).start()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('127.0.0.1', 8053))
while True:
    data, client = sock.recvfrom(100)
    sock.sendto(b'short' if data == b'a' else b'more', client)
"""
PATH = "socket:inet:127.0.0.1:8053"
RESOLVER = """
import socket, time
PLACE = ('127.0.0.1', 8053)
def ask(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT)
        sock.connect(PLACE)
        sock.send(name)
        answer = sock.recv(100)
    if answer != b'more':
        return answer.decode()
    with socket.create_connection(PLACE, LIMIT) as sock, sock.makefile('rb') as lines:
        sock.sendall(name)
        line = lines.readline()
        if not line.endswith(b'\\n'):
            raise ConnectionError(f'cut after {len(line)} bytes')
        return str(len(line))
for name in (b'a', b'long'):
    for attempt in range(TRIES):
        try:
            print(ask(name), flush=True)
            break
        except OSError as error:
            if attempt == TRIES - 1:
                raise SystemExit(type(error).__name__)
            time.sleep(0.2)
"""
ALL = b"short\n401\n"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("both")) as made:
        made.bench.companions = (made.command((sys.executable, "-c", COMPANION)),)
        yield made


def program(limit: str, tries: int) -> str:
    return RESOLVER.replace("LIMIT", limit).replace("TRIES", str(tries))


def broken(stage: Stage, how: str, nth: int, limit: str = "0.5", tries: int = 40, call: str = "connect") -> Run:
    """The first three connects are of datagrams, datagrams and a stream."""
    stage.runs(program(limit, tries))
    fault = Peer(point=Point(call=call, path=PATH, nth=nth), how=how, back_s=OUTAGE_S)
    history = stage.trial(fault, patience=SHORT, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history.runs[0]


def clean(stage: Stage) -> None:
    """A run in which nothing is broken: where it turns to is learnt."""
    with stage.bench.image_from("S0") as image, stage.bench.zygote.sandbox(image) as sandbox:
        recorder = Recorder(mask=stage.bench.masker)
        run, _ = stage.bench.start(sandbox, image, "clean", calls=OBSERVED, recorder=recorder, patience=PATIENT)
    assert run.end.code == 0, run


@pytest.mark.parametrize("nth", [1, 3], ids=["as datagrams are sent", "as a stream is begun"])
@pytest.mark.parametrize("how", [SILENT, REFUSED, SLOW])
def test_both_fail_together_and_who_asks_again_is_answered(stage: Stage, how: str, nth: int) -> None:
    limit = "5" if how == SLOW else "0.5"
    run = broken(stage, how, nth, limit)
    assert run.end.code == 0 and printed(run) == ALL, run
    if how == SLOW:
        assert run.end.elapsed_s > 2


@pytest.mark.parametrize(("nth", "said"), [(1, b""), (3, b"short\n")])
def test_who_waits_without_a_limit_hangs_whichever_it_waits_for(stage: Stage, nth: int, said: bytes) -> None:
    run = broken(stage, SILENT, nth, "None", 1)
    assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "blocked", run
    assert printed(run) == said


@pytest.mark.parametrize("how", [RESET, CLOSED])
def test_what_only_a_stream_can_meet_falls_on_that_alone(stage: Stage, how: str) -> None:
    run = broken(stage, how, 3)
    assert run.end.code == 0 and printed(run) == ALL, run
    with pytest.raises(AssertionError, match="it was datagrams that went there"):
        broken(stage, how, 1)


HIGH = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('127.0.0.1', 40053))
while True:
    data, client = sock.recvfrom(100)
    sock.sendto(data.upper(), client)
"""
ASKS = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(LIMIT)
sock.sendto(b'ask', ('127.0.0.1', 40053))
print(sock.recv(100).decode(), flush=True)
"""


@pytest.mark.parametrize(("limit", "ends"), [("None", DEADLINE), ("0.5", "exited")])
def test_a_companion_that_has_only_a_port_of_those_for_clients(tmp_path: Path, limit: str, ends: str) -> None:
    with staged(tmp_path, ASKS.replace("LIMIT", limit)) as stage:
        bench = stage.bench
        bench.companions = (stage.command((sys.executable, "-c", HIGH)),)
        clean(stage)
        assert bench.peers == {"socket:inet:127.0.0.1:40053": "udp"}
        bench.calibration = msgspec.structs.replace(bench.calibration, peers=tuple(bench.peers))
        fault = Peer(point=Point(call="sendto", path=next(iter(bench.peers)), nth=1), how=SILENT)
        history = stage.trial(fault, patience=SHORT, rerun=False)
    assert history.injected[0].fired, history.injected[0].note
    assert history.runs[0].end.how == ends, history.runs[0]
