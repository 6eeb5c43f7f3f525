"""`--allow peer:HOST:PORT`: a server outside is reached where it is named, nobody else is, and it is broken.

covers: M-24, R-20
"""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.errors import BlackstartError, Undecided
from blackstart.trials.outside import Outside, find
from tests.live.programs.running import Ran, run
from tests.live.trials.stage import Stage, printed, staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
# Asks three times, each time anew. A limit, and another try: what the good twin has more.
CLIENT = """
import socket, sys, time
def ask(number):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=LIMIT) as peer:
        peer.sendall(b'ask')
        answer = peer.recv(100)
        if answer != b'answer':
            raise OSError(f'{len(answer)} bytes')
        print('answered', number, flush=True)
for number in range(3):
    for attempt in range(TRIES):
        try:
            ask(number)
            break
        except OSError as error:
            if attempt == TRIES - 1:
                sys.exit(f'no answer: {error}')
            time.sleep(0.3)
"""
BAD = CLIENT.replace("LIMIT", "None").replace("TRIES", "1")
GOOD = CLIENT.replace("LIMIT", "1").replace("TRIES", "20")


class Server(socketserver.ThreadingTCPServer):
    """Outside; knows how many came."""

    daemon_threads = True
    came = 0


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Server)
        self.server.came += 1
        while self.request.recv(100):
            self.request.sendall(b"answer")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def tried(place: Path, script: str, server: Server, *more: str) -> Ran:
    place = place / "app"
    place.mkdir()
    (place / "client.py").write_text(script)
    port = str(server.server_address[1])
    return run([sys.executable, "client.py", "localhost", port], place, "--only", "peer", *more)


def test_without_a_limit_it_hangs_on_the_peer_outside(tmp_path: Path, server: Server) -> None:
    door = f"peer:localhost:{server.server_address[1]}"
    ran = tried(tmp_path, BAD, server, "--trials", "1", "--allow", door)  # the silent one: each hang takes a while
    assert server.came > 3
    assert [finding["consequence"] for finding in ran.defects] == ["hung"], ran.said()
    assert f"{door.replace('peer:', 'peer ')}: by --allow" in ran.out, ran.out


def test_with_a_limit_and_another_try_it_survives(tmp_path: Path, server: Server) -> None:
    ran = tried(tmp_path, GOOD, server, "--trials", "3", "--allow", f"peer:localhost:{server.server_address[1]}")
    passed = sum(counts["passed"] for counts in ran.report["trials"]["kinds"] if counts["kind"] == "peer")
    assert ran.status == 0 and not ran.findings and passed == 3, ran.said()


def test_one_that_is_not_named_is_out_of_reach(tmp_path: Path, server: Server) -> None:
    ran = tried(tmp_path, BAD, server)
    assert ran.status == 3 and f"--allow peer:127.0.0.1:{server.server_address[1]}" in ran.out, ran.out
    assert server.came == 0


def test_who_is_not_there_is_said_before_anything_is_run(server: Server) -> None:
    assert find(f"localhost:{server.server_address[1]}").addresses[-1] == "127.0.0.1"
    with pytest.raises(Undecided, match="nobody answers"):
        find("127.0.0.1:1")
    with pytest.raises(BlackstartError, match="has no address"):
        find("no-such-host.invalid:80")


def test_its_name_and_its_address_mean_it_inside(tmp_path: Path) -> None:
    """Of documentation (RFC 5737): it is not reached from here, so that the connection ends at once."""
    script = """
import socket
with socket.create_connection(('device.example', 8093)) as peer:
    print(peer.getpeername()[0], peer.recv(1), socket.gethostbyname('other.example'))
"""
    with staged(tmp_path, script) as stage:
        stage.bench.companions = (Outside("device.example", 8093, ("192.0.2.7",)),)
        assert said(stage) == b"192.0.2.7 b'' 127.0.0.1\n"


def said(stage: Stage) -> bytes:
    return printed(stage.trial(rerun=False).runs[0])
