"""What the HTTP API can do the library can, without an event loop: covers R-20."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackstart.core.clock import SYSTEM
from blackstart.proxy import NotFound, SyncProxies
from tests.live.proxy.conftest import connect, read

pytestmark = pytest.mark.live


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    with SyncProxies(seed=7) as made:
        yield made


def answered_after_s(listen: str) -> float:
    began = SYSTEM.monotonic()
    with connect(listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
    return SYSTEM.monotonic() - began


def test_a_toxic_is_changed_and_what_is_not_given_stays(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo)
    name = proxy.add("timeout", toxicity=0, timeout=1)
    proxy.change(name, timeout=2)
    assert answered_after_s(proxy.listen) >= 0
    proxy.remove(name)
    name = proxy.add("latency")
    proxy.change(name, latency=60)
    assert answered_after_s(proxy.listen) >= 0.06
    with pytest.raises(NotFound):
        proxy.change("none", latency=60)


def test_a_list_of_proxies_is_made_and_one_is_deleted(proxies: SyncProxies, echo: str) -> None:
    described = [{"name": name, "listen": "127.0.0.1:0", "upstream": echo} for name in ("a", "b")]
    first, second = proxies.populate(described)
    assert answered_after_s(first.listen) >= 0
    first.delete()
    with pytest.raises(ConnectionRefusedError):
        connect(first.listen)
    assert answered_after_s(second.listen) >= 0
    with pytest.raises(NotFound):
        first.delete()
