"""A service that keeps a lock on the way out of an error: it stands, takes every connection, and answers nobody again.

Its users give up; they may call that refused, as they do where a good one refuses all that it cannot keep any more, in
words or by hanging up.

covers: IF-3, M-7
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
SERVER = """
import os, signal, socket, sys, threading, time
lock = threading.Lock()

def save(line):
    with open('log', 'ab', buffering=0) as log:
        log.write(line)

def careless(line):
    lock.acquire()
    save(line)
    lock.release()

def careful(line):
    with lock:
        save(line)

is_broken = False

def refusing(line):
    global is_broken
    try:
        if not is_broken:
            return save(line)
    except OSError:
        is_broken = True
    raise OSError('it is broken')

def rebuilding(line):
    with lock:
        try:
            save(line)
        except OSError:
            end_s = time.monotonic() + 60
            while time.monotonic() < end_s:
                sum(range(1000))
            raise

def talk(client):
    with client:
        for line in client.makefile('rb'):
            try:
                if line.startswith(b'GET'):
                    with lock:
                        client.sendall(b'HTTP/1.0 200 ok\\r\\n\\r\\n')
                elif line[:1].isdigit():
                    {mode}(line)
                    client.sendall(b'ok')
            except OSError as error:
                print(error, file=sys.stderr, flush=True)
                if {hangs_up}:
                    return
                client.sendall(b'no')

def measure():
    while True:
        time.sleep(0.3)
        open('/proc/self/statm').read()

threading.Thread(target=measure, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.create_server(('127.0.0.1', 8124))
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
"""
WORK = """
import socket, time
for number in range(2):
    try:
        with socket.create_connection(('127.0.0.1', 8124), timeout=2) as asked:
            asked.sendall(b'%d\\n' % number)
            answer = asked.recv(2)
    except OSError:
        print('{in_vain}', number, flush=True)
    else:
        if answer != b'ok':
            time.sleep(1)
        print('ok' if answer == b'ok' else 'fail', number, flush=True)
"""


def tried(place: Path, ready: str, *, mode: str, hangs_up: bool = False, in_vain: str = "info") -> Ran:
    """What is found; in_vain: what the workload says where no answer comes."""
    (place / "server.py").write_text(SERVER.replace("{mode}", mode).replace("{hangs_up}", str(hangs_up)))
    (place / "work.py").write_text(WORK.replace("{in_vain}", in_vain))
    options = ("--ready", ready, "--workload", f"{PYTHON} work.py", "--only", "errno", "--trials", "1")
    return run([PYTHON, "server.py"], place, *options, timeout_s=500)


def must_find(ran: Ran, found: list[str]) -> None:
    assert [defect["consequence"] for defect in ran.defects] == found, ran.said()
    assert ran.status == len(found), ran.said()
    for defect in ran.defects:
        assert "answers nobody any more" in str(defect["evidence"]) and "$CWD/log" in defect["fault"], ran.said()


@pytest.mark.parametrize("ready", ["tcp:8124", pytest.param("http:http://127.0.0.1:8124/", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("mode", "found"),
    [("careless", ["dead"]), ("careful", []), pytest.param("rebuilding", [], marks=pytest.mark.slow)],
)
def test_one_that_answers_nobody_once_all_is_well_again_is_dead(
    tmp_path: Path, mode: str, found: list[str], ready: str
) -> None:
    must_find(tried(tmp_path, ready, mode=mode), found)


@pytest.mark.parametrize(
    ("mode", "hangs_up", "found"),
    [
        ("careless", False, ["dead"]),
        ("refusing", True, []),
        pytest.param("refusing", False, [], marks=pytest.mark.slow),
        pytest.param("careful", False, [], marks=pytest.mark.slow),
    ],
)
def test_whose_users_call_it_refused_when_they_give_up_is_dead_and_who_refuses_is_not(
    tmp_path: Path, mode: str, hangs_up: bool, found: list[str]
) -> None:
    must_find(tried(tmp_path, "tcp:8124", mode=mode, hangs_up=hangs_up, in_vain="fail"), found)
