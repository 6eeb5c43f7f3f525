"""Streams through a proxy as clients see them: half-closes, resets, chains, live changes, rules, schedules, doors.

covers: R-19, R-20, R-21, IF-2
"""

from __future__ import annotations

import hashlib
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blackstart.core.clock import SYSTEM
from blackstart.proxy import AddressError, Exists, NotFound, SyncProxies, SyncProxy, ToxicError
from tests.live.proxy.conftest import DEADLINE_S, Server, connect, read, read_all

pytestmark = pytest.mark.live


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    """Proxies in the loop of the standard library."""
    with SyncProxies(seed=7) as made:
        yield made


def until(holds: Callable[[], Any]) -> Any:
    """Wait for a condition, with a deadline; what it gave."""
    due = SYSTEM.monotonic() + DEADLINE_S
    while not (found := holds()):
        assert SYSTEM.monotonic() < due, "the condition did not come"
        time.sleep(0.005)
    return found


class Two(socketserver.BaseRequestHandler):
    """Says one letter."""

    def handle(self) -> None:
        if self.request.recv(1):
            self.request.sendall(b"2")


def ends(proxy: SyncProxy) -> list[str]:
    """How the connections that are over ended."""
    return [one["end"] for one in proxy.connections() if one["end"]]


def make_certificate(place: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    certificate, key = place / "cert.pem", place / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
        timeout=500,
    )
    return certificate, key


def echoes(address: str) -> bool:
    """Whether the echo is reached at this address now."""
    try:
        with connect(address) as sock:
            sock.sendall(b"?")
            return read(sock, 1) == b"?"
    except OSError:
        return False


def test_a_half_close_is_carried_on(proxies: SyncProxies, echo: str) -> None:
    with connect(proxies.create("a", echo).listen) as sock:
        sock.sendall(b"ask")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"ask<end>"


def test_a_reset_of_the_upstream_resets_the_client(proxies: SyncProxies) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = proxies.create("a", f"127.0.0.1:{server.getsockname()[1]}")
        with connect(proxy.listen) as sock:
            sock.sendall(b"x")
            peer, _ = server.accept()
            assert peer.recv(1) == b"x"
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        until(lambda: ends(proxy) == ["reset by the upstream"])


def test_it_is_known_how_each_connection_ended(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with connect(proxy.listen) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"<end>"
    with connect(proxy.listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: len(ends(proxy)) == 2)
    for count, kind in enumerate(("limit_data", "reset_peer"), 3):
        with proxy.toxic(kind), connect(proxy.listen) as sock:
            sock.sendall(b"x")
            until(lambda count=count: len(ends(proxy)) == count)
    assert ends(proxy) == ["ended by both sides", "reset by the client", "closed here", "reset here"]


def test_an_upstream_that_is_gone_ends_the_connection_and_nothing_else(proxies: SyncProxies, echo: str) -> None:
    good = proxies.create("good", echo)
    for number, upstream in enumerate(["127.0.0.1:1", "no-such-host.invalid:80", "nonsense", "unix:/nowhere"]):
        with connect(proxies.create(f"bad{number}", upstream).listen) as sock:
            assert sock.recv(1) == b""
    assert echoes(good.listen)


@pytest.mark.parametrize("kind", ["latency", "bandwidth", "slicer", "slow_close", "noop"])
def test_changes_while_data_flow_lose_nothing(proxies: SyncProxies, echo: str, kind: str) -> None:
    """Toxics come, change place and go under a stream, in both directions; every byte arrives, in order."""
    attributes = {
        "latency": {"latency": 5, "jitter": 4},
        "bandwidth": {"rate": 2000},
        "slicer": {"average_size": 900, "size_variation": 100, "delay": 50},
    }.get(kind, {})
    proxy = proxies.create("a", echo)
    data = os.urandom(1 << 22)
    got = hashlib.sha256()
    with connect(proxy.listen) as sock:
        reader = threading.Thread(target=lambda: got.update(read_all(sock)))
        reader.start()
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        changes = 0
        while sender.is_alive() or not changes:
            with proxy.toxic(kind, "upstream", **attributes), proxy.toxic(kind, "downstream", **attributes):
                with proxy.toxic("noop", name="between"):
                    changes += 1
        sender.join()
        reader.join(DEADLINE_S)
    assert got.digest() == hashlib.sha256(data + b"<end>").digest()


def test_toxics_act_in_the_order_of_their_creation(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    proxy.add("corrupt", name="first", offset=4)
    proxy.add("limit_data", name="second", bytes=4)
    with connect(proxy.listen) as sock:
        sock.sendall(bytes(8))
        assert read_all(sock) == bytes(4)
    (seen,) = [one for one in proxy.connections() if one["client"]]
    assert seen["hits"] == {"first": 1, "second": 1}


def test_a_thousand_toxics_in_a_chain_pass_every_byte(proxies: SyncProxies, echo: str) -> None:
    toxics = [{"type": "noop", "name": str(number)} for number in range(1000)]
    proxy = proxies.create("a", echo, toxics=toxics)
    with connect(proxy.listen) as sock:
        sock.sendall(b"x" * 100_000)
        assert read(sock, 100_000) == b"x" * 100_000


def test_three_failures_and_then_it_recovers_without_a_client(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo, toxics=[{"type": "reset_peer", "rule": "3*"}])
    assert [echoes(proxy.listen) for _ in range(5)] == [False, False, False, True, True]


def test_a_schedule_needs_no_client(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo, toxics=[{"type": "down", "window": "0s..500ms"}])
    assert not echoes(proxy.listen) or proxy.connections()
    until(lambda: echoes(proxy.listen))


def test_a_window_takes_hold_of_connections_that_are_open(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with connect(proxy.listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        proxy.add("limit_data", bytes=0, window="100ms..")

        def is_cut() -> bool:
            sock.sendall(b"x")
            return sock.recv(1) == b""

        until(is_cut)


def test_a_blackhole_lets_a_connect_hang_and_later_ones_through(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with connect(proxy.listen) as there:
        with proxy.toxic("blackhole"):
            late = socket.socket()
            late.settimeout(0.5)
            with late, pytest.raises(TimeoutError):
                late.connect((proxy.host, proxy.port))
            there.sendall(b"x")
            assert read(there, 1) == b"x"
        assert echoes(proxy.listen)


def test_doors_turn_connections_away(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with proxy.toxic("accept_close"), connect(proxy.listen) as sock:
        assert sock.recv(1) == b""
    with proxy.toxic("accept_close", reset=1), connect(proxy.listen) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    with proxy.toxic("slow_accept", delay=100):
        began = SYSTEM.monotonic()
        assert echoes(proxy.listen)
        assert SYSTEM.monotonic() - began >= 0.1
    with proxy.down():
        assert not echoes(proxy.listen)
    assert echoes(proxy.listen)


def test_half_open_is_silent_while_the_connection_stands(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with proxy.toxic("half_open"), connect(proxy.listen) as sock:
        sock.sendall(b"x")
        until(lambda: any(one["hits"].get("half_open_downstream") for one in proxy.connections()))
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_upstreams_take_turns_and_one_that_is_gone_is_passed_by(proxies: SyncProxies, echo: str) -> None:
    with Server(("127.0.0.1", 0), Two) as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        second = f"127.0.0.1:{other.server_address[1]}"
        proxy = proxies.create("a", echo, upstreams=[echo, second, "127.0.0.1:1"])
        for _ in range(6):
            with connect(proxy.listen) as sock:
                sock.sendall(b"x")
                assert read(sock, 1)
        until(lambda: len([one for one in proxy.connections() if one["end"]]) == 6)
        used = [one["upstream"] for one in sorted(proxy.connections(), key=lambda one: one["number"])]
        assert used == [echo, second, echo] * 2
        other.shutdown()


def test_unix_sockets_at_both_ends(proxies: SyncProxies, tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "up"))
    server.listen()
    with server:
        proxy = proxies.create("a", f"unix:{tmp_path / 'up'}", listen=f"unix:{tmp_path / 'down'}")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / "down"))
            sock.sendall(b"x")
            peer, _ = server.accept()
            with peer:
                assert peer.recv(1) == b"x"
        assert proxy.host == str(tmp_path / "down")
    # A stale socket is in nobody's way; a file is somebody's.
    proxies.create("b", "127.0.0.1:1", listen=f"unix:{tmp_path / 'up'}")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AddressError, match="address already in use"):
        proxies.create("c", "127.0.0.1:1", listen=f"unix:{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.needs("openssl")
def test_tls_is_ended_here_and_spoken_upstream(proxies: SyncProxies, echo: str, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    ended = proxies.create("ended", echo, tls={"certificate": str(certificate), "key": str(key)})
    again = proxies.create("again", ended.listen, tls={"upstream": True})
    passed_through = proxies.create("through", ended.listen)
    trusting = ssl.create_default_context(cafile=str(certificate))
    for proxy in (ended, passed_through):
        with connect(proxy.listen) as plain, trusting.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"secret")
            assert read(sock, 6) == b"secret"
    with connect(again.listen) as sock:
        sock.sendall(b"secret")
        assert read(sock, 6) == b"secret"
    with ended.toxic("limit_data", bytes=2), connect(ended.listen) as plain:
        with trusting.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"secret")
            assert read(sock, 6) == b"se"
    with pytest.raises(AddressError, match="certificate"):
        proxies.create("none", echo, tls={"certificate": str(tmp_path / "none.pem")})


def test_bulk_is_spliced_and_arrives_whole(proxies: SyncProxies, echo: str) -> None:
    data = os.urandom(1 << 24)
    with connect(proxies.create("a", echo).listen) as sock:
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read_all(sock)))
        reader.start()
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        reader.join(DEADLINE_S)
    is_whole = got == [data + b"<end>"]
    assert is_whole, [len(one) for one in got]  # to show where they differ takes minutes


def test_the_same_seed_hits_the_same_connections(echo: str) -> None:
    def outcome(seed: int) -> list[bool]:
        with SyncProxies(seed=seed) as made:
            proxy = made.create("a", echo, toxics=[{"type": "reset_peer", "toxicity": 0.5}])
            return [echoes(proxy.listen) for _ in range(24)]

    first = outcome(3)
    assert first == outcome(3)
    assert 0 < sum(first) < 24
    assert first != outcome(4)


def test_wrong_calls_are_told_in_words(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with pytest.raises(Exists, match="proxy already exists"):
        proxies.create("a", echo)
    with pytest.raises(NotFound, match="toxic not found"):
        proxy.remove("none")
    with pytest.raises(ToxicError, match="cannot act on tcp"):
        proxy.add("duplicate")
    with pytest.raises(AddressError, match="missing port"):
        proxies.create("b", echo, listen="nowhere")


@pytest.mark.needs("openssl")
def test_noise_at_a_tls_listener_harms_nobody(proxies: SyncProxies, echo: str, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    proxy = proxies.create("a", echo, tls={"certificate": str(certificate), "key": str(key)})
    for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(500), b""):
        with connect(proxy.listen) as sock:
            sock.sendall(noise)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with connect(proxy.listen) as plain, trusting.wrap_socket(plain, server_hostname="localhost") as good:
        good.sendall(b"x")
        assert read(good, 1) == b"x"


def test_addresses_of_the_next_protocol(proxies: SyncProxies, echo: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("needs IPv6 (this Python was built without)")
    inner = proxies.create("inner", echo, listen="[::1]:0")
    assert inner.listen.startswith("[::1]:")
    assert echoes(proxies.create("outer", inner.listen, listen="localhost:0").listen)


def test_bandwidth_can_be_one_line_for_all(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo, toxics=[{"type": "bandwidth", "attributes": {"rate": 100, "shared": 1}}])
    began = SYSTEM.monotonic()
    socks = [connect(proxy.listen) for _ in range(4)]
    for sock in socks:
        sock.sendall(bytes(5000))
    for sock in socks:
        assert len(read(sock, 5000)) == 5000
        sock.close()
    assert SYSTEM.monotonic() - began >= 0.2
