"""Hostile input and hard limits: a clear error, and the others undisturbed. covers: R-23"""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blackstart.core.clock import SYSTEM
from tests.live.proxy.conftest import DEADLINE_S, Api, connect, read
from tests.live.proxy.test_streams import until

pytestmark = pytest.mark.live
CONNECTIONS, WORKERS = 100_000, 8


def works(api: Api, listen: str) -> bool:
    """Whether the API answers and the proxy carries."""
    with connect(listen) as sock:
        sock.sendall(b"?")
        return api.ask("GET", "/version")[0] == 200 and read(sock, 1) == b"?"


def make(api: Api, echo: str, name: str = "good") -> str:
    return str(api.json("POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": echo})["listen"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{" * 1_000_000, 400),
        (json.dumps({"name": "x" * 1_000_000, "upstream": "a:1"}).encode(), 400),
        (json.dumps({"name": "x", "upstream": "u" * 1_000_000, "listen": "127.0.0.1:0"}).encode(), 201),
        (b"x" * 9_000_000, 413),
        (b'{"name": "\xff\xfe", "upstream": 5}', 400),
        (b'[{"name": "a"}]', 400),
        (json.dumps({"name": "x", "upstream": "a:1", "listen": "l" * 64 + ":0"}).encode(), 500),
        (b'{"name": "n\\u0000", "upstream": "a:1", "listen": "h\\u0000st:1"}', 500),
        (b'{"name": "s", "upstream": "a:1", "listen": "127.0.0.1:0", "toxics": {}}', 400),
        (b'{"name": "s", "upstream": "a:1", "listen": "127.0.0.1:0", "upstreams": [1]}', 400),
        (b'{"name": "s", "upstream": "a:1", "listen": "127.0.0.1:0", "tls": {"certificate": 1}}', 400),
        (b'{"name": "s", "upstream": "a:1", "listen": "127.0.0.1:0", "tls": {"certificate": "\\u0000"}}', 500),
        (b'{"name": "s", "upstream": "a:1", "listen": "127.0.0.1:0", "tls": {"upstream": true, "ca": "\\u0000"}}', 500),
        (b'{"name": "half \\ud800", "upstream": "\\ud800:1", "listen": "127.0.0.1:0"}', 201),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_hostile_body_has_its_answer_and_harms_nobody(api: Api, echo: str, body: bytes, status: int) -> None:
    listen = make(api, echo)
    assert api.ask("POST", "/proxies", body)[0] == status
    assert works(api, listen)


def test_half_a_character_is_the_sign_for_none_as_in_go(api: Api, echo: str) -> None:
    toxics = [{"type": "noop", "name": "\udfff"}]
    body = {"name": "\ud83d\ude00\ud800", "upstream": echo, "listen": "127.0.0.1:0", "toxics": toxics}
    made = api.json("POST", "/proxies", body)
    assert (made["name"], made["toxics"][0]["name"]) == ("\U0001f600\ufffd", "\ufffd")
    assert works(api, made["listen"])
    with connect(made["listen"]) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"


def test_a_name_of_a_megabyte_in_the_path(api: Api, echo: str) -> None:
    listen = make(api, echo)
    try:
        assert api.ask("GET", "/proxies/" + "x" * 1_000_000)[0] in (400, 404)
    except OSError:
        pass
    assert works(api, listen)


def test_an_upstream_that_no_name_server_could_know_ends_the_connection(api: Api, echo: str) -> None:
    listen = make(api, echo)
    with connect(make(api, "u" * 64 + ".example:1", "bad")) as sock:
        assert read(sock, 1) == b""
    until(lambda: all("no such host" in one["end"] for one in api.json("GET", "/proxies/bad/connections")))
    assert works(api, listen)


@pytest.mark.parametrize("line", [b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1"])
def test_a_request_for_no_path_has_its_answer(api: Api, echo: str, line: bytes) -> None:
    listen = make(api, echo)
    with connect(f"{api.host}:{api.port}") as sock:
        sock.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read(sock, 12) == b"HTTP/1.1 404"
    assert works(api, listen)


def test_half_requests_and_noise_do_not_hold_up_the_api(api: Api, echo: str) -> None:
    listen = make(api, echo)
    halves = [socket.create_connection((api.host, api.port)) for _ in range(50)]
    for half in halves[:25]:
        half.sendall(b"POST /proxies HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    for half in halves[25:]:
        half.sendall(os.urandom(200))
    assert works(api, listen)
    for half in halves:
        half.close()
    assert works(api, listen)


def test_a_toxic_on_a_proxy_that_is_being_deleted(api: Api, echo: str) -> None:
    """Whatever comes first, each call has its answer, and the name is free again."""
    for _ in range(10):
        make(api, echo, "gone")
        with ThreadPoolExecutor(8) as pool:
            added = [
                pool.submit(api.ask, "POST", "/proxies/gone/toxics", {"type": "latency", "name": str(number)})
                for number in range(7)
            ]
            deleted = pool.submit(api.ask, "DELETE", "/proxies/gone")
        assert deleted.result()[0] == 204
        assert {one.result()[0] for one in added} <= {200, 404}
        assert api.ask("GET", "/proxies/gone")[0] == 404


def test_a_client_that_never_reads_stops_nothing_and_costs_little(api: Api, echo: str) -> None:
    listen, good = make(api, echo, "stuck"), make(api, echo)
    with connect(listen) as deaf:
        deaf.setblocking(False)
        due = SYSTEM.monotonic() + DEADLINE_S
        stuck_for = 0
        while stuck_for < 200 and SYSTEM.monotonic() < due:
            try:
                deaf.send(bytes(2**16))
                stuck_for = 0
            except BlockingIOError:
                stuck_for += 1
                threading.Event().wait(0.005)
        assert stuck_for >= 200
        assert works(api, good)
        assert memory_bytes(api) < 300_000_000
        # Changes do not wait for it.
        assert api.ask("POST", "/proxies/stuck/toxics", {"type": "latency"})[0] == 200
        assert api.ask("DELETE", "/proxies/stuck/toxics/latency_downstream")[0] == 204
        assert api.ask("DELETE", "/proxies/stuck")[0] == 204


def memory_bytes(api: Api) -> int:
    """What the server holds in memory now."""
    pages = int(Path(f"/proc/{api.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def descriptors(api: Api) -> int:
    return len(os.listdir(f"/proc/{api.process.pid}/fd"))


def test_without_descriptors_new_connections_are_reset_and_old_ones_live(
    serving: Callable[..., Api], echo: str
) -> None:
    api = serving()
    listen = make(api, echo)
    with connect(listen) as old:
        old.sendall(b"x")
        assert read(old, 1) == b"x"
        limit = descriptors(api) + 10
        resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        fates = []
        many = []
        for _ in range(20):
            try:
                sock = connect(listen)
                many.append(sock)
                sock.sendall(b"x")
                fates.append(read(sock, 1))
            except OSError:
                fates.append(b"")
        assert b"x" in fates
        assert b"" in fates
        old.sendall(b"y")
        assert read(old, 1) == b"y"
        for sock in many:
            sock.close()
    due = SYSTEM.monotonic() + DEADLINE_S
    while descriptors(api) > limit - 8:
        assert SYSTEM.monotonic() < due
    assert works(api, listen)


def test_many_connections_leak_neither_descriptors_nor_memory(serving: Callable[..., Api], echo: str) -> None:
    """100,000 connections in all, most of them closed from outside by RST, through toxics that hold and reset."""
    api = serving()
    listens = [make(api, echo, str(number)) for number in range(4)]
    api.json("POST", "/proxies/1/toxics", {"type": "latency", "attributes": {"latency": 1}})
    api.json("POST", "/proxies/2/toxics", {"type": "reset_peer", "toxicity": 0.5})
    api.json("POST", "/proxies/3/toxics", {"type": "accept_close", "attributes": {"reset": 1}})

    def storm(count: int) -> None:
        for number in range(count):
            try:
                with connect(listens[number % 4]) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    sock.sendall(b"x")
                    sock.recv(1)
            except OSError:
                pass

    def settle() -> tuple[int, int]:
        due = SYSTEM.monotonic() + DEADLINE_S
        while any(one["end"] == "" for name in "0123" for one in api.json("GET", f"/proxies/{name}/connections")):
            assert SYSTEM.monotonic() < due
        return descriptors(api), memory_bytes(api)

    with ThreadPoolExecutor(WORKERS) as pool:
        # The records of the last thousand of each proxy are there from here on.
        list(pool.map(storm, [CONNECTIONS // 10 // WORKERS] * WORKERS))
        descriptors_before, memory_before = settle()
        list(pool.map(storm, [CONNECTIONS * 9 // 10 // WORKERS] * WORKERS))
    descriptors_after, memory_after = settle()
    assert descriptors_after <= descriptors_before + 2
    # 90,000 connections: a hundred bytes kept of each would be 9 MB.
    assert memory_after - memory_before < 8_000_000
