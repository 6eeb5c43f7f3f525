"""A companion that opens its ports one after the other is reached at all of them.

covers: IF-1
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from blackstart.faults.peer import REFUSED, Peer
from blackstart.faults.point import Point
from blackstart.gate import Recorder
from tests.live.trials.stage import SHORT, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

COMPANION = """
import socket, time
first = socket.create_server(('127.0.0.1', 8095))
time.sleep(0.5)
second = socket.create_server(('127.0.0.1', 8096))
time.sleep(600)
"""
CLIENT = """
import socket, time
for _ in range(1000):
    try:
        socket.create_connection(('127.0.0.1', 8096))
        break
    except OSError:
        time.sleep(0.05)
"""
LATE = "socket:inet:127.0.0.1:8096"


def test_a_port_that_comes_late_is_seen_and_then_waited_for(tmp_path: Path) -> None:
    with staged(tmp_path, CLIENT) as stage:
        bench = stage.bench
        bench.companions = (stage.command((sys.executable, "-c", COMPANION)),)
        with bench.image_from("S0") as image, bench.zygote.sandbox(image) as sandbox:
            recorder = Recorder(mask=bench.masker)
            bench.start(sandbox, image, "clean", calls=frozenset({"connect"}), recorder=recorder)
        assert list(bench.peers) == [LATE]
        bench.calibration = msgspec.structs.replace(bench.calibration, peers=tuple(bench.peers))
        fault = Peer(point=Point(call="connect", path=LATE, nth=1), how=REFUSED, back_s=0.5)
        (injected,) = stage.trial(fault, patience=SHORT, rerun=False).injected
        assert injected.fired, injected.note
