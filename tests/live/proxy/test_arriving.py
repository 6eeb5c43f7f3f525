"""Connections that are not served yet, and toxics of the listener: covers R-20."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackstart.proxy import SyncProxies
from tests.live.proxy.conftest import connect, read, read_all
from tests.live.proxy.test_streams import until

pytestmark = pytest.mark.live
LONG_MS = 3_600_000


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    with SyncProxies(seed=7) as made:
        yield made


def until_one_waits(proxies: SyncProxies, name: str) -> None:
    """Until a connection is there and waits to be admitted."""
    proxy = proxies._proxies.get(name)
    until(lambda: any(visit._toxic for visit in list(proxy._arriving.values())))


def test_one_that_waits_is_served_when_the_toxic_is_removed(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    names = [proxy.add("slow_accept", name=name, delay=LONG_MS) for name in ("first", "second")]
    with connect(proxy.listen) as sock:
        sock.sendall(b"x")
        until_one_waits(proxies, "a")
        for name in names:
            proxy.remove(name)
        assert read(sock, 1) == b"x"


@pytest.mark.parametrize("reset", [False, True])
def test_one_that_waits_is_connected_and_can_be_closed(proxies: SyncProxies, echo: str, reset: bool) -> None:
    proxy = proxies.create("a", echo)
    with proxy.toxic("slow_accept", delay=LONG_MS), connect(proxy.listen) as sock:
        sock.sendall(b"x")
        until_one_waits(proxies, "a")
        assert proxy.disconnect(reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        else:
            assert sock.recv(1) == b""
        (record,) = proxy.connections()
        assert record["end"] == ("reset here" if reset else "closed here")


@pytest.mark.parametrize("kind", ["down", "blackhole"])
def test_with_a_toxicity_of_nought_the_listener_is_open(proxies: SyncProxies, echo: str, kind: str) -> None:
    proxy = proxies.create("a", echo)
    with proxy.toxic(kind, toxicity=0), connect(proxy.listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"


def test_a_changed_toxicity_opens_and_closes_the_listener(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    name = proxy.add("down")
    for toxicity in (0, 1, 0):
        proxy.change(name, toxicity=toxicity)
        if toxicity:
            with pytest.raises(ConnectionRefusedError):
                connect(proxy.listen)
        else:
            with connect(proxy.listen) as sock:
                sock.sendall(b"x")
                assert read(sock, 1) == b"x"


def test_what_a_toxic_keeps_back_was_not_sent(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    with proxy.toxic("limit_data", bytes=4), connect(proxy.listen) as sock:
        sock.sendall(b"0123456789")
        assert read_all(sock) == b"0123"
    until(lambda: [one["end"] for one in proxy.connections()] == ["closed here"])
    records = proxy.connections()
    assert (records[0]["received_bytes"], records[0]["sent_bytes"]) == (10, 4)
