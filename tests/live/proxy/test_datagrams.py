"""Datagrams through a proxy. covers: R-22"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from blackstart.proxy import SyncProxies, SyncProxy, ToxicError
from tests.live.proxy.conftest import DEADLINE_S
from tests.live.proxy.test_streams import until

pytestmark = pytest.mark.live


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server that sends each datagram back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, client = server.recvfrom(2**16)
                if data == b"<stop>":
                    return
                server.sendto(data, client)

        thread = threading.Thread(target=serve)
        thread.start()
        address = server.getsockname()
        yield "udp:{}:{}".format(*address)
        server.sendto(b"<stop>", address)
        thread.join()


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    with SyncProxies(seed=5) as made:
        yield made


def client(proxy: SyncProxy) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE_S)
    sock.connect((proxy.host, proxy.port))
    return sock


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(2**16)


def test_each_client_gets_its_own_answers(proxies: SyncProxies, answering: str) -> None:
    proxy = proxies.create("a", answering, listen="udp:127.0.0.1:0")
    clients = [client(proxy) for _ in range(20)]
    for number, sock in enumerate(clients):
        sock.send(str(number).encode())
    assert [sock.recv(100) for sock in clients] == [str(number).encode() for number in range(20)]
    for sock in clients:
        sock.close()


def test_upstreams_take_turns_with_the_clients(proxies: SyncProxies, answering: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        second = "udp:{}:{}".format(*other.getsockname())
        proxy = proxies.create("a", answering, upstreams=[answering, second], listen="udp:127.0.0.1:0")
        clients = [client(proxy) for _ in range(4)]
        assert ask(clients[0], b"x") == b"x"
        clients[1].send(b"y")
        assert other.recv(10) == b"y"
        assert ask(clients[2], b"z") == b"z"
        clients[3].send(b"w")
        assert other.recv(10) == b"w"
        assert [one["upstream"] for one in proxy.connections()] == [answering, second] * 2
        for sock in clients:
            sock.close()


def test_a_rule_loses_the_datagrams_that_it_counts(proxies: SyncProxies, answering: str) -> None:
    proxy = proxies.create("a", answering, listen="udp:127.0.0.1:0")
    proxy.add("packet_loss", loss_rate=1.0, rule="@2+2")
    with client(proxy) as sock:
        for number in range(6):
            sock.send(bytes([number]))
        assert sorted(sock.recv(100) for _ in range(3)) == [b"\0", b"\2", b"\4"]
        # The last of them comes after all that can be received.
        until(lambda: [one["hits"] for one in proxy.connections()] == [{"packet_loss_downstream": 3}])


def test_twice_changed_late_and_overtaken(proxies: SyncProxies, answering: str) -> None:
    proxy = proxies.create("a", answering, listen="udp:127.0.0.1:0")
    with client(proxy) as sock:
        with proxy.toxic("duplicate"):
            assert [ask(sock, b"x"), sock.recv(100)] == [b"x", b"x"]
        with proxy.toxic("corrupt"):
            (flipped,) = ask(sock, b"\0")
            assert flipped.bit_count() == 1
        # Only the first is held back: the second overtakes it.
        with proxy.toxic("latency", latency=2000, rule="@1"):
            sock.send(b"1")
            sock.send(b"2")
            assert [sock.recv(100), sock.recv(100)] == [b"2", b"1"]


def test_a_dead_upstream_loses_datagrams_and_nothing_else(proxies: SyncProxies, answering: str) -> None:
    dead = proxies.create("dead", "udp:127.0.0.1:1", listen="udp:127.0.0.1:0")
    wrong = proxies.create("wrong", "nonsense", listen="udp:127.0.0.1:0")
    good = proxies.create("good", answering, listen="udp:127.0.0.1:0")
    for proxy in (dead, wrong):
        with client(proxy) as sock:
            for _ in range(3):
                sock.send(b"x")
    with client(good) as sock:
        assert ask(sock, b"x") == b"x"


def test_toxics_of_streams_are_refused(proxies: SyncProxies, answering: str) -> None:
    proxy = proxies.create("a", answering, listen="udp:127.0.0.1:0")
    with pytest.raises(ToxicError, match="cannot act on udp"):
        proxy.add("slicer")


def test_down_and_up_again_at_the_same_port(proxies: SyncProxies, answering: str) -> None:
    proxy = proxies.create("a", answering, listen="udp:127.0.0.1:0")
    with client(proxy) as sock:
        assert ask(sock, b"x") == b"x"
        with proxy.toxic("down"):
            sock.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(1)
        assert ask(sock, b"y") == b"y"
