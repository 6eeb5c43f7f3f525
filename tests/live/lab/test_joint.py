"""A companion behind a link, yet at 127.0.0.1: reached, slowed, cut, forgotten; for root and for an ordinary user.

covers: L-3
"""

from __future__ import annotations

import pytest

from tests.live.sandbox.people import people, person

pytestmark = pytest.mark.live

SCRIPT = '''
import os, sys, tempfile, time
from blackstart.lab import Impairment, Joined
from blackstart.sandbox import Layout, Zygote

PYTHON = os.path.realpath(sys.executable)
COMPANION = """
import socket, threading
def serve(client, address):
    with client:
        while data := client.recv(100):
            client.sendall(address[0].encode() + b" " + data)
def listen():
    server = socket.create_server(("127.0.0.1", 6379))
    while True:
        threading.Thread(target=serve, args=server.accept(), daemon=True).start()
threading.Thread(target=listen).start()
import time
while True:
    try:
        with socket.create_connection(("127.0.0.1", 6379)) as own:
            own.sendall(b"own"); print(own.recv(100).decode(), flush=True); break
    except OSError: time.sleep(0.01)
"""
TARGET = """
import socket, sys, time
link = socket.create_connection(("127.0.0.1", 6379), 30)
for line in sys.stdin:
    name, limit = line.split(); begun = time.monotonic()
    link.settimeout(float(limit))
    try:
        link.sendall(name.encode()); said = link.recv(100).decode()
    except TimeoutError: said = "nothing"
    print(said, int((time.monotonic() - begun) * 1000), flush=True)
    if said == "nothing": link = socket.create_connection(("127.0.0.1", 6379), 30)
"""
place = tempfile.mkdtemp(); null = os.open(os.devnull, os.O_RDWR)
with Zygote(Layout.of(cwd=place, home=place, copies=[place])) as zygote:
    zygote.capture("S0")
    with zygote.sandbox("S0") as sandbox:
        joint = sandbox.joint = Joined(sandbox, [("tcp", 6379)])
        reading, writing = os.pipe()
        sandbox.start([PYTHON, "-c", COMPANION], env={}, stdin=null, stdout=writing, stderr=2, beside=True, apart=True)
        print(os.read(reading, 100).decode().strip())
        given, giving = os.pipe(); told, telling = os.pipe()
        sandbox.start([PYTHON, "-c", TARGET], env={}, stdin=given, stdout=telling, stderr=2)
        def ask(name, limit_s=30):
            os.write(giving, f"{name} {limit_s}\\n".encode())
            words = os.read(told, 100).decode().split()
            return " ".join(words[:-1]), int(words[-1])
        print(ask("plain")[0])
        with joint.apply(Impairment(delay_ms=150)):
            said, took_ms = ask("slow")
        print(said, took_ms >= 300, joint.counts()["delayed"] > 0)
        before = joint.counts()["dropped"]
        joint.apply(None, 1.0)
        said, took_ms = ask("cut")
        print(said, took_ms >= 900, joint.counts()["dropped"] > before)
        joint.apply(Impairment(forgets_connections=True))
        print(ask("forgotten", 0.7)[0], ask("anew")[0])
        keeper = joint._keeper
print(keeper.poll() is not None)
'''


@pytest.mark.parametrize("name", people())
def test_a_companion_behind_a_link_stays_at_its_address(name: str) -> None:
    with person(name) as someone:
        ended = someone.run("-c", SCRIPT, timeout_s=500)
    assert ended.stdout.splitlines() == [
        "127.0.0.1 own",
        "127.0.0.1 plain",
        "127.0.0.1 slow True True",
        "127.0.0.1 cut True True",
        "nothing 127.0.0.1 anew",
        "True",
    ], ended.stderr
