"""What the HTTP API can do the library can, without an event loop: covers R-20."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError
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


def test_a_key_that_nobody_reads_is_refused_and_nothing_is_changed(proxies: SyncProxies, echo: str) -> None:
    """A toxic that is milder than meant would be taken for a good program."""
    proxy = proxies.create("a", echo)

    def entered(type: str, **attributes: Any) -> None:
        with proxy.toxic(type, **attributes):
            raise AssertionError

    flat = {"type": "latency", "latency": 500}
    many = [{"name": "b", "upstream": echo, "toxics": [flat]}]
    proxy.add("corrupt")
    for call, said in (
        (lambda: entered("latency", latancy=500), "toxic latency of proxy 'a', attributes: nobody reads 'latancy'; "),
        (lambda: entered("packet_loss", loss=0.5), "nobody reads 'loss'; did you mean 'loss_rate'?"),
        (lambda: proxy.add("latency", attributes={"latency": 5}), "attributes: nobody reads 'attributes'"),
        (lambda: proxy.change("corrupt_downstream", latency=3), "toxic corrupt_downstream of proxy 'a', attributes: n"),
        (lambda: proxies.create("b", echo, toxics=[flat]), 'reads \'latency\'; did you mean "attributes": {"latency"'),
        (lambda: proxies.create("b", echo, uptreams=[echo]), "proxy 'b': nobody reads 'uptreams'; did you mean 'upstr"),
        (lambda: proxies.create("b", echo, tls={"certificat": "c"}), "tls: nobody reads 'certificat'; did you mean 'c"),
        (lambda: proxies.populate(many), "toxic latency of proxy 'b': nobody reads 'latency'"),
        (lambda: proxies.populate([many[0] | {"toxics": []}] * 2), "there are two proxies 'b'"),
    ):
        with pytest.raises(BlackstartError, match=re.escape(said)):
            call()
    assert proxy.toxics() == ["corrupt_downstream"]
    assert proxies.create("b", echo, Enabled=False).toxics() == []


OUT_OF_RANGE: list[tuple[str, str, dict[str, float], str]] = [
    ("", "packet_loss", {"loss_rate": 30}, "loss_rate is a number from 0 to 1, not 30"),
    ("", "packet_loss", {"loss_rate": -0.1}, "loss_rate is a number from 0 to 1, not -0.1"),
    ("", "packet_loss", {"correlation": 2}, "correlation is a number from 0 to 1, not 2"),
    ("", "noop", {"toxicity": 50}, "toxicity is a number from 0 to 1, not 50"),
    ("", "noop", {"toxicity": -1}, "toxicity is a number from 0 to 1, not -1"),
    ("", "http", {"status": 99999}, "status is a number from 100 to 599, not 99999"),
    ("", "http", {"status": 99}, "status is a number from 100 to 599, not 99"),
    ("", "modbus", {"exception": 256}, "exception is a number from 0 to 255, not 256"),
    ("", "mqtt", {"connack": -1}, "connack is a number from 0 to 255, not -1"),
    ("udp:", "packet_loss", {"loss_rate": 1.5}, "loss_rate is a number from 0 to 1, not 1.5"),
    ("udp:", "reorder", {"percent": 101}, "percent is a number from 0 to 100, not 101"),
]


@pytest.mark.parametrize(("network", "type", "attributes", "said"), OUT_OF_RANGE)
def test_a_value_that_would_run_as_another_is_refused(
    proxies: SyncProxies, echo: str, network: str, type: str, attributes: dict[str, float], said: str
) -> None:
    listen = f"{network}127.0.0.1:0"
    proxy = proxies.create("a", echo, listen=listen)
    proxy.add(type, name="there")
    toxicity = {key: value for key, value in attributes.items() if key == "toxicity"}
    toxic = {"type": type, "attributes": attributes if not toxicity else {}} | toxicity
    for call in (
        lambda: proxy.add(type, name="new", **attributes),
        lambda: proxy.change("there", **attributes),
        lambda: proxies.create("b", echo, listen=listen, toxics=[toxic]),
        lambda: proxies.populate([{"name": "b", "upstream": echo, "listen": listen, "toxics": [toxic]}]),
    ):
        with pytest.raises(BlackstartError, match=re.escape(f"toxic {type}: {said}")):
            call()
    assert proxy.toxics() == ["there"]


def test_the_ends_of_each_range_are_in_it(proxies: SyncProxies, echo: str) -> None:
    proxy = proxies.create("a", echo, upstreams=[echo, "127.0.0.1:1"])
    for number, (type, attributes) in enumerate([
        ("packet_loss", {"loss_rate": 0, "correlation": 1}), ("noop", {"toxicity": 0}), ("noop", {"toxicity": 1}),
        ("http", {"status": 0}), ("http", {"status": 100}), ("http", {"status": 599}), ("mqtt", {"connack": 255}),
    ]):  # fmt: skip
        proxy.add(type, name=str(number), **attributes)
    assert len(proxy.toxics()) == 7


def test_fields_that_contradict_each_other_are_refused(proxies: SyncProxies, echo: str) -> None:
    with pytest.raises(BlackstartError, match="is none of the upstreams: give one of the two"):
        proxies.create("a", echo, upstreams=["127.0.0.1:1", "127.0.0.1:2"])
    with pytest.raises(BlackstartError, match="tls is of streams only"):
        proxies.create("a", echo, listen="udp:127.0.0.1:0", tls={"upstream": True})
    assert proxies.create("a", "", upstreams=[echo]).toxics() == []


def test_what_is_used_after_the_end_says_so(echo: str) -> None:
    with SyncProxies(seed=7) as proxies:
        proxy = proxies.create("a", echo)
    uses = (
        lambda: proxy.add("noop"), lambda: proxy.change("noop", latency=1), lambda: proxy.remove("noop"), proxy.delete,
        proxy.disconnect, proxy.connections, proxy.toxic("noop").__enter__, proxy.down().__enter__, proxies.reset,
        lambda: proxies.create("b", echo), lambda: proxies.populate([]),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for use in uses:
            with pytest.raises(BlackstartError, match="the proxies are closed, and this one was used after that"):
                use()
        gc.collect()
    assert not [one for one in seen if "never awaited" in str(one.message)]
    proxies.close()
    assert proxy.name == "a"
