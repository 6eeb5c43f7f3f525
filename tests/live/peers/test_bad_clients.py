"""Kind clients on small servers: the good one serves the others all the same, each bad one does what it does.

covers: AW-1, AW-2, AW-4, PB-3
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import STOPPED
from blackstart.core.verdict import FAILED
from blackstart.faults.clients import CROWD, GARBAGE, HALF, MANY, SLOW, UNREAD, VANISH, Clients
from blackstart.oracles import alive
from blackstart.targets import Patience, Service, parse_ready
from tests.live.trials.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
PATIENCE = Patience(deadline_s=15.0, hard_s=40.0, work_s=15.0)
PATH = "socket:inet:127.0.0.1:8096"
# A line a request, a line an answer; each client has a thread, and a time limit.
SERVER = """
import signal, socket, sys, threading
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
kept = []
def talk(client):
    client.settimeout(LIMIT)
    try:
        lines = client.makefile('rb')
        while line := lines.readline(500):
            client.sendall(line.upper())
    except OSError:
        pass
    if CLOSES:
        client.close()
    kept.append(client) if not CLOSES else None
server = socket.create_server(('127.0.0.1', 8096), backlog=500)
print('ready', flush=True)
while True:
    client, _ = server.accept()
    CALL
"""
THREAD = "threading.Thread(target=talk, args=(client,), daemon=True).start()"
GOOD = SERVER.replace("LIMIT", "1").replace("CLOSES", "True").replace("CALL", THREAD)
ONE_BY_ONE = SERVER.replace("LIMIT", "None").replace("CLOSES", "True").replace("CALL", "talk(client)")
KEEPS = SERVER.replace("LIMIT", "1").replace("CLOSES", "False").replace("CALL", THREAD)
DIES = SERVER.replace("CALL", "client.settimeout(1); print(client.recv(500)[:20]); client.sendall(b'HELLO\\n' * 9)\n"
                      "    import time; time.sleep(0.01); client.recv(500); client.close()")  # fmt: skip
# Ten at a time, with a limit: for each piece (a slow reader keeps within it for ever), or for all that one wants.
SLOTS = """
import signal, socket, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
free = threading.Semaphore(10)
def talk(client):
    ends_s = time.monotonic() + 1
    try:
        client.settimeout(3)
        lines = client.makefile('rb')
        while line := lines.readline(500):
            left = line.upper() * 20
            while left:
                client.settimeout(LIMIT)
                left = left[client.send(left):]
    except (OSError, ValueError):
        pass
    client.close()
    free.release()
server = socket.create_server(('127.0.0.1', 8096), backlog=500)
print('ready', flush=True)
while True:
    client, _ = server.accept()
    free.acquire()
    threading.Thread(target=talk, args=(client,), daemon=True).start()
"""
EACH_PIECE = SLOTS.replace("LIMIT", "3")
WHOLE_TALK = SLOTS.replace("LIMIT", "ends_s - time.monotonic()")  # ValueError once that is past
WORK = """
import socket
for number in range(2):
    try:
        with socket.create_connection(('127.0.0.1', 8096), timeout=3) as sock:
            sock.sendall(b'hello\\n')
            print('ok' if sock.recv(100).startswith(b'HELLO') else 'fail', number, flush=True)
    except OSError:
        print('info', number, flush=True)
"""


def served(base: Path, script: str) -> Stage:
    stage = Stage(base, script)
    workload = stage.command((sys.executable, "-c", WORK))
    stage.bench.service = Service(ready=parse_ready("log:ready", str(stage.cwd)), workload=workload)
    return stage


@pytest.mark.parametrize(
    ("script", "how", "consequence"),
    [
        *((GOOD, how, "") for how in CROWD),
        (ONE_BY_ONE, HALF, "hung"),
        (KEEPS, VANISH, "leaked"),
        (KEEPS, MANY, "leaked"),
        (DIES, VANISH, "dead"),
        (EACH_PIECE, SLOW, "hung"),
        (WHOLE_TALK, SLOW, ""),
    ],
    ids=[
        *(f"good: {how}" for how in CROWD),
        "one by one",
        "keeps the vanished",
        "keeps the silent",
        "dies",
        "a limit for each piece",
        "a limit for the whole talk",
    ],
)
def test_bad_clients(tmp_path: Path, script: str, how: str, consequence: str) -> None:
    assert failed(served(tmp_path, script), Clients(how=how, path=PATH)) == ({consequence} if consequence else set())


@pytest.mark.parametrize(
    ("script", "consequences"), [(GOOD, set()), (ONE_BY_ONE, {"hung"})], ids=["good", "one by one"]
)
def test_a_service_on_every_address(tmp_path: Path, script: str, consequences: set[str]) -> None:
    """Over IPv6, as it listens; those who use it come over IPv4."""
    here = "('127.0.0.1', 8096), backlog=500"
    assert here in script
    everywhere = script.replace(here, "('::', 8096), family=socket.AF_INET6, dualstack_ipv6=True, backlog=500")
    assert failed(served(tmp_path, everywhere), Clients(how=HALF, path="socket:inet6:[::]:8096")) == consequences


def failed(stage: Stage, fault: Clients) -> set[str]:
    """What the service did while these clients were there."""
    try:
        clean = stage.trial(patience=PATIENCE, rerun=False).runs[0]
        assert clean.end.how == STOPPED and clean.life is not None and {a.how for a in clean.life.acts} == {"ok"}, clean
        history = stage.trial(fault, patience=PATIENCE, rerun=False)
    finally:
        stage.zygote.close()
    (injected,) = history.injected
    assert injected.fired, injected.note
    chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=clean.life),)
    verdicts = alive.judge(history, Calibration(chain=chain, is_service=True))
    return {verdict.consequence for verdict in verdicts if verdict.outcome == FAILED}


def test_all_sorts_are_tried() -> None:
    assert set(CROWD) == {VANISH, HALF, UNREAD, MANY, GARBAGE, SLOW}
