"""A real PostgreSQL that resets, falls silent, and goes away and comes back, under psycopg and a SQLAlchemy pool.

covers: L-8, M-24, G-2
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import DEADLINE, Life, Run
from blackstart.core.verdict import FAILED
from blackstart.faults.peer import OUTAGE_S, REFUSED, RESET, SILENT, Peer
from blackstart.faults.point import Point
from blackstart.oracles import alive
from blackstart.targets import Patience, Service, parse_ready, service
from tests.live.trials.stage import Stage, printed, staged

# Debian keeps these out of PATH, by version.
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/nowhere")]
BIN = PLACES[-1].parent
pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (BIN / "initdb").exists(), reason="needs postgresql (not installed)"),
]
PORT, NOBODY = 5439, 65534
DATABASE = f"socket:inet:127.0.0.1:{PORT}"
# It refuses to be root's.
AS_USER = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if os.geteuid() == 0 else ()
SERVER = (
    *AS_USER, str(BIN / "postgres"), "-D", "data", "-p", str(PORT), "-c", "listen_addresses=127.0.0.1",
    "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_wal_size=16MB", "-c", "min_wal_size=2MB",
)  # fmt: skip
# psycopg asks again every tenth of a second whether an answer has come: a wait that repeats, and no longer one.
JOB = Patience(deadline_s=3.0, hard_s=90.0, repeat_s=6.0)
SERVING = Patience(deadline_s=15.0, hard_s=60.0, work_s=20.0)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:  # of which every directory lets another user through
        os.chmod(place, 0o755)
        with staged(Path(place)) as made:
            data = made.cwd / "data"
            data.mkdir()
            if AS_USER:
                os.chown(data, NOBODY, NOBODY)
            words = ("-D", data, "-A", "trust", "-U", "app", "--no-sync", "--wal-segsize=1")
            subprocess.run([*AS_USER, BIN / "initdb", *words], check=True, capture_output=True, cwd="/")
            made.zygote.capture("S1")
            made.bench.companions = (made.command(SERVER),)
            yield made


PLAIN = f"""
import psycopg
with psycopg.connect('host=127.0.0.1 port={PORT} user=app dbname=postgres', autocommit=True) as database:
    database.execute('create table if not exists work (id int primary key)')
    for number in range(3):
        database.execute('insert into work values (%s) on conflict do nothing', (number,))
    print(database.execute('select count(*) from work').fetchone())
"""
# TCP watches over the connection. Who asks for that does not wait for ever, though a silent server answers the probes.
KEPT_ALIVE = PLAIN.replace("dbname=", "keepalives_idle=3 keepalives_interval=1 keepalives_count=2 dbname=")
# A limit for each try that asks nothing of the server (`wait_for` has psycopg cancel there first, for up to 10 s more);
# a new connection for the next one; what is asked twice is done once.
CAREFUL = f"""
import psycopg, signal, time
def late(*_):
    raise TimeoutError
def work():
    signal.setitimer(signal.ITIMER_REAL, 2.5)
    database = psycopg.connect('host=127.0.0.1 port={PORT} user=app dbname=postgres', autocommit=True)
    try:
        database.execute('create table if not exists work (id int primary key)')
        for number in range(3):
            database.execute('insert into work values (%s) on conflict do nothing', (number,))
        print(database.execute('select count(*) from work').fetchone())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        database.close()
signal.signal(signal.SIGALRM, late)
for attempt in range(20):
    try:
        work()
        break
    except (TimeoutError, psycopg.OperationalError):
        time.sleep(0.1 * attempt)
else:
    raise SystemExit('gave up')
"""
POOL = f"""
import time
from sqlalchemy import create_engine, exc, text
engine = create_engine('postgresql+psycopg://app@127.0.0.1:{PORT}/postgres', pool_pre_ping=PING)
def work():
    with engine.begin() as database:
        database.execute(text('create table if not exists work (id int primary key)'))
    for number in range(3):
        with engine.begin() as database:
            database.execute(text('insert into work values (:id) on conflict do nothing'), dict(id=number))
    with engine.begin() as database:
        print(database.execute(text('select count(*) from work')).fetchone())
for attempt in range(TRIES):
    try:
        work()
        break
    except exc.OperationalError:
        if attempt == TRIES - 1:
            raise
        time.sleep(0.1 * attempt)
"""
ONCE = "PING, TRIES = False, 1" + POOL
AGAIN = "PING, TRIES = True, 20" + POOL


def broken(stage: Stage, script: str, how: str, nth: int) -> Run:
    """The job whose database is broken at its n-th send."""
    stage.runs(script)
    fault = Peer(point=Point(call="sendto", path=DATABASE, nth=nth), how=how, back_s=OUTAGE_S)
    history = stage.trial(fault, start="S1", patience=JOB, rerun=False)
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history.runs[0]


@pytest.mark.parametrize(
    ("script", "how", "ends"),
    [
        (PLAIN, SILENT, "hangs"),
        (PLAIN, RESET, "OperationalError"),
        (KEPT_ALIVE, SILENT, "kept"),
        (CAREFUL, SILENT, "done"),
        (CAREFUL, RESET, "done"),
        (ONCE, SILENT, "hangs"),
        (ONCE, RESET, "OperationalError"),
        (AGAIN, SILENT, "hangs"),
        (AGAIN, RESET, "done"),
        (AGAIN, REFUSED, "done"),
    ],
    ids=["psycopg, silence", "psycopg, reset", "kept alive, silence", "with a limit, silence", "with a limit, reset",
         "pool, silence", "pool, reset", "pool and retry, silence", "pool and retry, reset", "pool and retry, refused"],
)  # fmt: skip
def test_what_its_clients_do(stage: Stage, script: str, how: str, ends: str) -> None:
    run = broken(stage, script, how, nth=5)
    if ends == "hangs":
        assert run.end.how == DEADLINE and run.end.wait is not None, run
        assert run.end.wait.state in ("blocked", "repeating"), run.end.wait
    elif ends == "kept":
        assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "kept", run
    elif ends == "done":
        assert run.end.code == 0 and printed(run) == b"(3,)\n", (run.end, run.outputs)
    else:
        assert run.end.code == 1 and ends in run.text("stderr").decode(), run


# Keeps each line in the database and says so. One session for all, never rolled back, or one out of the pool for each.
KEEPER = f"""
import signal, socket, sys
from sqlalchemy import create_engine, exc, text
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
engine = create_engine('postgresql+psycopg://app@127.0.0.1:{PORT}/postgres', pool_pre_ping=True)
with engine.begin() as database:
    database.execute(text('create table work (id text)'))
def keep(database, line):
    database.execute(text('insert into work values (:id)'), dict(id=line))
    database.commit()
shared = engine.connect()
server = socket.create_server(('127.0.0.1', 8092))
print('ready', flush=True)
while True:
    client, _ = server.accept()
    with client:
        try:
            KEEP
            client.sendall(b'ok')
        except exc.SQLAlchemyError as error:
            print(type(error).__name__, flush=True)
            client.sendall(b'fail')
"""
OF_ITS_OWN = "with engine.connect() as database: keep(database, client.recv(100).decode())"
SHARED = "keep(shared, client.recv(100).decode())"
WORK = """
import socket
for number in range(3):
    try:
        with socket.create_connection(('127.0.0.1', 8092), timeout=2) as sock:
            sock.sendall(str(number).encode())
            print(sock.recv(100).decode() or 'info', number, flush=True)
    except OSError:
        print('info', number, flush=True)
"""


@pytest.mark.parametrize(("keep", "outcome"), [(OF_ITS_OWN, "passed"), (SHARED, FAILED)], ids=["pooled", "shared"])
def test_a_service_whose_database_is_gone_for_a_while(
    stage: Stage, keep: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "NO_TRY_S", 5.0)  # else the bad one is watched for half a minute more
    stage.runs(KEEPER.replace("KEEP", keep))
    stage.bench.service = Service(
        ready=parse_ready("log:ready", str(stage.cwd)), workload=stage.command((sys.executable, "-c", WORK))
    )
    try:
        fault = Peer(point=Point(call="sendto", path=DATABASE, nth=22), how=REFUSED)
        history = stage.trial(fault, start="S1", patience=SERVING, rerun=False)
    finally:
        stage.bench.service = None
    (injected,) = history.injected
    assert injected.fired, injected.note
    chain = (CleanRun(start="S1", code=0, elapsed_s=1.0, life=Life(ready_s=0.5)),)
    (verdict,) = alive.judge(history, Calibration(chain=chain, is_service=True))
    assert verdict.outcome == outcome, (verdict, history.runs[0])
    if outcome == FAILED:
        assert verdict.consequence == "dead" and b"PendingRollbackError" in printed(history.runs[0])
