"""Protocol toxics between real programs: covers R-21."""

from __future__ import annotations

import functools
import http.client
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.proxy import SyncProxies
from tests.live.proxy.conftest import connect, read_all

pytestmark = pytest.mark.live


@pytest.fixture
def proxies() -> Iterator[SyncProxies]:
    with SyncProxies(seed=7) as made:
        yield made


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server with one page of 100 kB."""
    (tmp_path / "page").write_bytes(b"x" * 100_000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def get(address: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", "/page")
    return connection.getresponse()


def test_a_web_server_that_is_overloaded_or_cut(proxies: SyncProxies, web: str) -> None:
    proxy = proxies.create("web", web)
    assert len(get(proxy.listen).read()) == 100_000
    with proxy.toxic("http", status=503, headers="Retry-After: 9"):
        answer = get(proxy.listen)
        assert (answer.status, answer.reason, answer.getheader("Retry-After")) == (503, "Service Unavailable", "9")
        assert len(answer.read()) == 100_000
    with proxy.toxic("http", body=5000):
        with pytest.raises(http.client.IncompleteRead) as caught:
            get(proxy.listen).read()
        assert len(caught.value.partial) == 5000
    with proxy.toxic("http", body_delay=1) as name:
        assert len(get(proxy.listen).read()) == 100_000
        assert any(one["hits"].get(name) for one in proxy.connections())


def test_an_answer_that_is_cut_in_its_head_is_a_whole_one_to_some_clients(proxies: SyncProxies, web: str) -> None:
    """As docs/kinds/peer.md warns: half a head has no length, so that nothing is missed."""
    requests = pytest.importorskip("requests", reason="needs requests (pip install blackstart[examples])")
    httpx = pytest.importorskip("httpx", reason="needs httpx (pip install blackstart[examples])")
    proxy = proxies.create("web", web)
    with proxy.toxic("limit_data", bytes=40):
        answer = get(proxy.listen)
        assert (answer.status, answer.read()) == (200, b"")
        taken = requests.get(f"http://{proxy.listen}/page", timeout=30)
        assert (taken.status_code, taken.content) == (200, b"")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://{proxy.listen}/page", timeout=30)


CONNECT = bytes.fromhex("100d00044d5154540402003c000161")


@pytest.mark.needs("mosquitto")
def test_a_broker_that_refuses(proxies: SyncProxies, tmp_path: Path) -> None:
    place = tmp_path / "broker"  # a name of its own: a port that was free might no longer be
    (tmp_path / "conf").write_text(f"user root\nlistener 0 {place}\nallow_anonymous true\n")
    broker = subprocess.Popen(["mosquitto", "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL)
    try:
        proxy = proxies.create("broker", f"unix:{place}")
        answer = b""
        for _ in range(1000):
            with connect(proxy.listen) as sock:
                sock.sendall(CONNECT)
                if answer := sock.recv(4):
                    break
            threading.Event().wait(0.01)
        assert answer == bytes.fromhex("20020000")
        with proxy.toxic("mqtt", connack=5), connect(proxy.listen) as sock:
            sock.sendall(CONNECT)
            assert read_all(sock) == bytes.fromhex("20020005")
    finally:
        broker.terminate()
        broker.wait(30)
