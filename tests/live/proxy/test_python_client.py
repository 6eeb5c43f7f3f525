"""The published Python client, unmodified, drives every route and toxic that it knows: covers R-3, IF-1."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest

from tests.live.proxy.conftest import Api, connect, read

pytestmark = pytest.mark.live

toxiproxy: Any = pytest.importorskip("toxiproxy", reason="needs toxiproxy-python (pip install blackstart[test])")


@pytest.fixture
def client(api: Api) -> Any:
    """The client, pointed at our server."""
    server = toxiproxy.Toxiproxy()
    server.update_api_consumer(api.host, api.port)
    return server


def test_it_finds_the_server_and_its_version(client: Any) -> None:
    assert client.running()
    assert client.version() == b'{"version": "2.12.0"}\n'


def test_it_makes_finds_and_destroys_proxies(client: Any, echo: str) -> None:
    errors = importlib.import_module("toxiproxy.exceptions")
    made = client.create(name="a", upstream=echo)
    assert made.enabled
    assert set(client.proxies()) == {"a"}
    assert client.get_proxy("a").listen == made.listen
    assert client.get_proxy("b") is None
    with pytest.raises(errors.ProxyExists):
        client.create(name="a", upstream=echo)
    assert client.destroy(made)
    with pytest.raises(errors.NotFound):
        made.destroy()
    assert client.proxies() == {}


def test_it_populates_and_destroys_all(client: Any, echo: str) -> None:
    made = client.populate([{"name": name, "upstream": echo, "listen": "127.0.0.1:0"} for name in ("a", "b")])
    assert [one.name for one in made] == ["a", "b"]
    client.destroy_all()
    assert client.proxies() == {}


def test_it_takes_a_proxy_down_and_up(client: Any, echo: str) -> None:
    made = client.create(name="a", upstream=echo)
    with made.down(), pytest.raises(ConnectionRefusedError):
        connect(made.listen)
    with connect(made.listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"


def test_a_disabled_proxy_is_enabled_by_reset(client: Any, echo: str) -> None:
    made = client.create(name="a", upstream=echo, enabled=False)
    assert not client.get_proxy("a").enabled
    made.add_toxic(type="timeout", attributes={"timeout": 1})
    assert client.reset()
    assert client.get_proxy("a").enabled
    assert made.toxics() == {}


def test_a_wrong_toxic_is_its_own_exception(client: Any, echo: str) -> None:
    errors = importlib.import_module("toxiproxy.exceptions")
    made = client.create(name="a", upstream=echo)
    with pytest.raises(errors.InvalidToxic):
        made.add_toxic(type="none")
    with pytest.raises(errors.ProxyExists):
        made.add_toxic(type="noop")
        made.add_toxic(type="noop")


TOXICS: list[tuple[str, dict[str, int], bytes]] = [
    ("noop", {}, b"0123456789"),
    ("latency", {"latency": 80, "jitter": 10}, b"0123456789"),
    ("bandwidth", {"rate": 1000}, b"0123456789"),
    ("slow_close", {"delay": 50}, b"0123456789"),
    ("timeout", {"timeout": 50}, b""),
    ("slicer", {"average_size": 3, "size_variation": 1, "delay": 10}, b"0123456789"),
    ("limit_data", {"bytes": 4}, b"0123"),
]


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
@pytest.mark.parametrize(("kind", "attributes", "seen"), TOXICS)
def test_each_toxic_acts_and_is_taken_away_again(
    client: Any, echo: str, kind: str, attributes: dict[str, int], seen: bytes, stream: str
) -> None:
    made = client.create(name="a", upstream=echo)
    made.add_toxic(type=kind, name="t", stream=stream, toxicity=1.0, attributes=attributes)
    shown = made.get_toxic("t")
    assert (shown.type, shown.stream, shown.toxicity) == (kind, stream, 1.0)
    assert attributes.items() <= shown.attributes.items()
    with connect(made.listen) as sock:
        began = time.monotonic()
        sock.sendall(b"0123456789")
        got = read(sock, 10)
        # Cut on the way up, the connection may be closed before the echo is back.
        assert got == seen or (kind, stream, got) == ("limit_data", "upstream", b"")
        if kind == "latency":
            assert time.monotonic() - began >= 0.07
    assert made.destroy_toxic("t")
    with connect(made.listen) as sock:
        sock.sendall(b"0123456789")
        assert read(sock, 10) == b"0123456789"


def test_reset_peer_resets(client: Any, echo: str) -> None:
    made = client.create(name="a", upstream=echo)
    made.add_toxic(type="reset_peer", attributes={"timeout": 1})
    with connect(made.listen) as sock, pytest.raises(ConnectionResetError):
        sock.sendall(b"x")
        sock.recv(1)


def test_toxicity_of_nought_does_nothing(client: Any, echo: str) -> None:
    made = client.create(name="a", upstream=echo)
    for kind in ("timeout", "reset_peer", "limit_data"):
        made.add_toxic(type=kind, toxicity=0.0)
    with connect(made.listen) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
