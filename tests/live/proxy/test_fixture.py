"""The fixture `proxy` inside a suite of somebody's own. covers: R-19"""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from blackstart.proxy import SyncProxy
from tests.live.proxy.conftest import connect, read

pytestmark = pytest.mark.live


def answer(address: str) -> bytes:
    """What comes back for one byte; nothing where the connection breaks."""
    try:
        with connect(address) as sock:
            sock.sendall(b"x")
            return read(sock, 1)
    except OSError:
        return b""


def test_it_makes_proxies_that_break_on_demand(proxy: Callable[..., SyncProxy], echo: str) -> None:
    flaky = proxy(echo, toxics=[{"type": "reset_peer", "rule": "2*"}])
    steady = proxy(echo)
    assert [answer(flaky.listen) for _ in range(3)] == [b"", b"", b"x"]
    assert answer(steady.listen) == b"x"
    with steady.down():
        assert answer(steady.listen) == b""


HELD: list[tuple[str, int]] = []


def test_one_more_proxy(proxy: Callable[..., SyncProxy], echo: str) -> None:
    made = proxy(echo)
    HELD.append((made.host, made.port))


def test_a_proxy_ends_with_its_test() -> None:
    if not HELD:
        pytest.skip("needs the test before it")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(HELD.pop())
