"""A companion that does not survive what is done between it and the target says nothing about the target.

covers: IF-1
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from blackstart.faults.peer import RESET, Peer
from blackstart.faults.point import Point
from tests.live.trials.stage import SHORT, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# A stub as one writes them: it ends when a client is gone.
COMPANION = """
import socket
server = socket.create_server(('127.0.0.1', 8094))
while True:
    client, _ = server.accept()
    while client.recv(100):
        for _ in range(100):
            client.sendall(b'yes' * 1000)
"""
CLIENT = "import socket; s = socket.create_connection(('127.0.0.1', 8094)); s.sendall(b'ask'); print(len(s.recv(3)))"


def test_the_trial_is_unknown_and_says_which_one_ended(tmp_path: Path) -> None:
    with staged(tmp_path, CLIENT) as stage:
        stage.bench.companions = (stage.command((sys.executable, "-c", COMPANION)),)
        path = "socket:inet:127.0.0.1:8094"
        history = stage.trial(Peer(point=Point(call="connect", path=path, nth=1), how=RESET), patience=SHORT)
    assert "ended in this trial" in history.trouble and "Error" in history.trouble
