"""Kind peer on every sort of client: what they reach without a fault, and what each way of failing does to them.

covers: M-24, IF-1, R-19, R-20, R-21, R-22, R-23
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.history import DEADLINE, EXITED, History, Run
from blackstart.faults.peer import CLOSED, OUTAGE_S, PARTIAL, REFUSED, RESET, SILENT, SLOW, UNANSWERED, Peer
from blackstart.faults.point import Point
from tests.live.trials.stage import SHORT, Stage, printed, staged
from tests.twins.making import compiled

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# Answers each line of four letters with `yes` and 400 more, on an IPv4, an IPv6 and a unix socket.
COMPANION = r"""
import os, socket, threading
def serve(sock):
    while True:
        one, _ = sock.accept()
        threading.Thread(target=answer, args=(one,), daemon=True).start()
def answer(one):
    while one.recv(4):
        one.sendall(b'yes' + b'.' * 400 + b'\n')
    one.close()
socks = [socket.create_server(('127.0.0.1', 8099)), socket.create_server(('::1', 8099), family=socket.AF_INET6)]
sock = socket.socket(socket.AF_UNIX)
if os.path.exists('peer.sock'):
    os.unlink('peer.sock')
sock.bind('peer.sock')
sock.listen()
threads = [threading.Thread(target=serve, args=(one,)) for one in (*socks, sock)]
[one.start() for one in threads]
"""
INET, INET6 = "socket:inet:127.0.0.1:8099", "socket:inet6:[::1]:8099"

HEAD = """
import errno, os, select, socket, sys, time
def ask(sock, what=b'ask\\n'):
    sock.sendall(what)
    got = b''
    while not got.endswith(b'\\n'):
        data = sock.recv(1000)
        if not data:
            raise ConnectionError(f'ended after {len(got)} bytes')
        got += data
    print('answered', len(got), flush=True)
"""
BLOCKING = HEAD + "s = socket.create_connection(('127.0.0.1', 8099)); ask(s); ask(s)"
CLIENTS = {
    "blocking": BLOCKING,
    "IPv6": HEAD + "s = socket.create_connection(('::1', 8099)); ask(s); ask(s)",
    "unix": HEAD + "s = socket.socket(socket.AF_UNIX); s.connect(os.path.abspath('peer.sock')); ask(s); ask(s)",
    "bound": HEAD + "s = socket.create_connection(('127.0.0.1', 8099), source_address=('127.0.0.1', 5555)); "
    "assert s.getsockname() == ('127.0.0.1', 5555) and s.getpeername() == ('127.0.0.1', 8099); ask(s); ask(s)",
    "duplicated": HEAD + "s = socket.socket(); d = s.dup(); s.connect(('127.0.0.1', 8099)); s.close(); ask(d); ask(d)",
    "not blocking": HEAD
    + "s = socket.socket(); s.setblocking(False); e = s.connect_ex(('127.0.0.1', 8099))\n"
    + "assert e in (0, errno.EINPROGRESS, errno.ECONNREFUSED), e\n"
    + "if e == errno.EINPROGRESS: select.select([], [s], []); e = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)\n"
    + "if e: raise OSError(e, os.strerror(e))\n"
    + "s.setblocking(True); ask(s); ask(s)",
    "epoll before": HEAD
    + "s = socket.socket(); s.setblocking(False); p = select.epoll(); p.register(s, select.EPOLLOUT)\n"
    + "s.connect_ex(('127.0.0.1', 8099)); assert p.poll(5), 'no event'\n"
    + "p.modify(s, select.EPOLLIN); s.setblocking(True); ask(s); ask(s)",
    "asyncio": HEAD
    + "import asyncio\n"
    + "async def main():\n"
    + "    r, w = await asyncio.open_connection('127.0.0.1', 8099)\n"
    + "    for _ in range(2):\n"
    + "        w.write(b'ask\\n'); line = await r.readuntil(b'\\n'); print('answered', len(line), flush=True)\n"
    + "asyncio.run(main())",
}
PATHS = {"IPv6": INET6}
GO = """package main

import ("bufio"; "fmt"; "net"; "os"; "time")

func main() {
	c, err := net.DialTimeout("tcp", "127.0.0.1:8099", 20*time.Second)
	for i := 0; i < 2 && err == nil; i++ {
		c.SetDeadline(time.Now().Add(4 * time.Second))
		c.Write([]byte("ask\\n"))
		var line []byte
		line, err = bufio.NewReader(c).ReadBytes('\\n')
		if err == nil { fmt.Println("answered", len(line)) }
	}
	if err != nil { fmt.Println(err); os.Exit(1) }
}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("peers")) as made:
        made.bench.companions = (made.command((sys.executable, "-c", COMPANION)),)
        yield made


def broken(stage: Stage, how: str, call: str = "connect", nth: int = 1, path: str = INET, **more: float) -> History:
    """A trial in which the peer is broken so, from this call on."""
    fault = Peer(point=Point(call=call, path=path, nth=nth), how=how, **more)
    return stage.trial(fault, patience=SHORT, rerun=False)


def first(history: History) -> Run:
    (injected,) = history.injected
    assert injected.fired, injected.note
    return history.runs[0]


def told(run: Run) -> str:
    return run.text("stderr").decode().strip().rpartition("\n")[2]


@pytest.mark.parametrize("name", CLIENTS)
def test_every_sort_of_client_is_served_and_refused_as_without_us(stage: Stage, name: str) -> None:
    stage.runs(CLIENTS[name])
    assert printed(stage.trial(rerun=False).runs[0]) == b"answered 404\nanswered 404\n"
    path = f"socket:unix:{stage.cwd}/peer.sock" if name == "unix" else PATHS.get(name, INET)
    run = first(broken(stage, REFUSED, path=path))
    assert run.end.how == EXITED and run.end.code == 1 and printed(run) == b""
    gone = ("FileNotFoundError", "ConnectionRefusedError", "BrokenPipeError")
    assert told(run).startswith(gone), told(run)
    run = first(broken(stage, RESET, path=path))
    assert run.end.code == 1 and printed(run) == b"", told(run)


@pytest.mark.skipif(not shutil.which("go"), reason="needs go (not installed)")
def test_a_go_program_is_served_refused_and_left_without_an_answer(tmp_path: Path) -> None:
    source = tmp_path / "client.go"
    source.write_text(GO)
    files = {"client": compiled(source).read_bytes()}
    with staged(tmp_path, "import os; os.chmod('client', 0o700); os.execv('./client', ['client'])", files) as stage:
        stage.bench.companions = (stage.command((sys.executable, "-c", COMPANION)),)
        is_broken_for_go(stage)


def is_broken_for_go(stage: Stage) -> None:
    assert printed(stage.trial(rerun=False).runs[0]) == b"answered 404\nanswered 404\n"
    assert b"connection refused" in printed(first(broken(stage, REFUSED)))
    assert b"i/o timeout" in printed(first(broken(stage, SILENT)))
    assert b"connection reset" in printed(first(broken(stage, RESET, call="write", nth=2)))


@pytest.mark.parametrize(
    ("how", "call", "said", "why"),
    [
        (RESET, "connect", b"", "ConnectionResetError"),
        (RESET, "sendto", b"answered 404\n", "ConnectionResetError"),
        (PARTIAL, "sendto", b"answered 404\n", "ConnectionError: ended after 202 bytes"),
        (CLOSED, "connect", b"", "Connection"),
        (REFUSED, "sendto", b"answered 404\n", "Connection"),
    ],
)
def test_what_each_way_is_to_a_client_that_gives_up(stage: Stage, how: str, call: str, said: bytes, why: str) -> None:
    stage.runs(BLOCKING)
    run = first(broken(stage, how, call=call, nth=2 if call == "sendto" else 1))
    assert run.end.code == 1 and printed(run) == said and why in told(run), told(run)


def test_one_that_waits_for_a_silent_peer_without_a_limit_is_blocked_and_one_with_a_limit_is_not(stage: Stage) -> None:
    stage.runs(BLOCKING)
    run = first(broken(stage, SILENT, back_s=OUTAGE_S))
    assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "blocked"
    assert run.end.wait.call == "recvfrom"
    stage.runs(BLOCKING.replace("8099))", "8099), timeout=0.5)"))
    run = first(broken(stage, SILENT, back_s=OUTAGE_S))
    assert run.end.how == EXITED and told(run).startswith("TimeoutError")


def test_a_slow_peer_answers_late(stage: Stage) -> None:
    stage.runs(BLOCKING)
    run = first(broken(stage, SLOW))
    assert run.end.code == 0 and printed(run) == b"answered 404\nanswered 404\n"
    assert run.end.elapsed_s >= 4


RETRYING = (
    HEAD
    + """
for attempt in range(40):
    try:
        with socket.create_connection(('127.0.0.1', 8099), timeout=1) as s:
            ask(s)
            break
    except OSError:
        time.sleep(0.2)
else:
    sys.exit('gave up')
"""
)


@pytest.mark.parametrize("how", [REFUSED, SILENT, RESET, PARTIAL, CLOSED, UNANSWERED])
def test_one_that_tries_again_gets_its_answer_when_the_peer_is_back(stage: Stage, how: str) -> None:
    stage.runs(RETRYING)
    run = first(broken(stage, how, back_s=OUTAGE_S))
    assert run.end.how == EXITED and run.end.code == 0 and printed(run) == b"answered 404\n", told(run)
    (peer,) = run.peers
    assert peer.healed is (how not in (RESET, PARTIAL)) or run.end.elapsed_s > OUTAGE_S


OF_TWO = (
    HEAD
    + """
socks = [socket.create_connection((host, 8099), timeout=LIMIT) for host in ('127.0.0.1', '::1')]
for _ in range(2):
    for sock in socks:
        try:
            ask(sock)
        except OSError as error:
            print('without', sock.getpeername()[0], flush=True)
"""
)


@pytest.mark.parametrize(("path", "gone"), [(INET, "127.0.0.1"), (INET6, "::1")])
def test_of_two_peers_one_is_broken_and_the_other_answers(stage: Stage, path: str, gone: str) -> None:
    stage.runs(OF_TWO.replace("LIMIT", "3"))
    run = first(broken(stage, SILENT, call="sendto", nth=1, path=path))
    lines = ("answered 404", f"without {gone}") if path == INET6 else (f"without {gone}", "answered 404")
    assert printed(run).decode().splitlines() == [*lines, *lines], (run.outputs, told(run))
    assert [(peer.address, peer.hits > 0) for peer in run.peers] == [(path, True)]


def test_one_that_waits_for_the_broken_one_of_two_peers_is_blocked_though_the_other_answers(stage: Stage) -> None:
    stage.runs(OF_TWO.replace("LIMIT", "None"))
    run = first(broken(stage, SILENT, call="sendto", nth=1, path=INET6))
    assert printed(run) == b"answered 404\n"
    assert run.end.how == DEADLINE and run.end.wait is not None and run.end.wait.state == "blocked"


HOLDING = (
    HEAD
    + """
s = socket.create_connection(('127.0.0.1', 8099))
for _ in range(50):
    try:
        ask(s)
    except OSError:
        break
    time.sleep(0.02)
with socket.socket() as own:
    own.bind(('127.0.0.1', 8099))
    own.connect(('127.0.0.1', 8099))
    print('connected to itself')
"""
)


def test_a_peer_that_is_gone_leaves_its_port_to_nobody(stage: Stage) -> None:
    """As the kernel may give it to a client that asks for no port in particular, which then answers itself."""
    stage.runs(HOLDING)
    run = first(broken(stage, REFUSED, call="sendto", nth=2))
    assert run.end.code == 1 and "Address already in use" in told(run), (run.outputs, told(run))


def test_a_peer_that_serves_one_at_a_time_is_free_for_the_next_start_when_it_is_back(tmp_path: Path) -> None:
    thread = "threading.Thread(target=answer, args=(one,), daemon=True).start()"
    assert thread in COMPANION
    one_at_a_time = COMPANION.replace(thread, "answer(one)")
    with staged(tmp_path, BLOCKING) as stage:
        stage.bench.companions = (stage.command((sys.executable, "-c", one_at_a_time)),)
        fault = Peer(point=Point(call="connect", path=INET, nth=1), how=SILENT, back_s=OUTAGE_S)
        hung, *later = stage.trial(fault, patience=SHORT).runs
    assert hung.end.how == DEADLINE
    assert {printed(run) for run in later} == {b"answered 404\nanswered 404\n"}
