"""A service that keeps a lock on the way out of an error: it stands, takes every connection, and answers nobody again.

covers: IF-3, M-7
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

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
import socket
for number in range(2):
    try:
        with socket.create_connection(('127.0.0.1', 8124), timeout=2) as asked:
            asked.sendall(b'%d\\n' % number)
            print('ok' if asked.recv(2) == b'ok' else 'fail', number, flush=True)
    except OSError:
        print('info', number, flush=True)
"""


@pytest.mark.parametrize("ready", ["tcp:8124", pytest.param("http:http://127.0.0.1:8124/", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("mode", "found"), [("careless", ["dead"]), ("careful", [])])
def test_one_that_answers_nobody_once_all_is_well_again_is_dead(
    tmp_path: Path, mode: str, found: list[str], ready: str
) -> None:
    place = tmp_path / mode
    place.mkdir()
    (place / "server.py").write_text(SERVER.replace("{mode}", mode))
    (place / "work.py").write_text(WORK)
    options = ("--ready", ready, "--workload", f"{PYTHON} work.py", "--only", "errno", "--trials", "1")
    ran = run([PYTHON, "server.py"], place, *options, timeout_s=500)
    assert [defect["consequence"] for defect in ran.defects] == found, ran.said()
    assert ran.status == len(found), ran.said()
    for defect in ran.defects:
        assert "answers nobody any more" in str(defect["evidence"]) and "$CWD/log" in defect["fault"], ran.said()
