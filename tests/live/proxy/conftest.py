"""An echo server, the server of the API as a process of its own, and HTTP by hand."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

DEADLINE_S = 120


class Echo(socketserver.StreamRequestHandler):
    """Sends back what comes, and a last word when the client has sent all: so a lost half-close is seen."""

    def handle(self) -> None:
        try:
            while data := self.request.recv(2**16):
                self.request.sendall(data)
            self.request.sendall(b"<end>")
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    """For one test."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that echoes."""
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Api:
    """The server of the API, and requests to it as they stand on the wire."""

    def __init__(self, process: subprocess.Popen[str], host: str, port: int, seed: int) -> None:
        self.process = process
        self.host, self.port, self.seed = host, port, seed

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        try:
            raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, raw, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that must be a success."""
        status, _, raw = self.ask(method, path, body)
        assert 200 <= status < 300, (status, raw)
        return json.loads(raw) if raw else None


def start(*options: str, env: dict[str, str] | None = None) -> Api:
    """A server on a free port, once it listens."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "blackstart", "proxy", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://(\[?[\w.:]+\]?):(\d+), \d+ (?:proxy|proxies), seed (\d+)", line)
    if not found:
        _, error = process.communicate(timeout=DEADLINE_S)
        raise AssertionError(f"the server did not start: {line}{error}")
    return Api(process, found[1].strip("[]"), int(found[2]), int(found[3]))


def stop(api: Api) -> str:
    """End it as an operator does; what it wrote to standard error."""
    api.process.send_signal(signal.SIGTERM)
    try:
        _, error = api.process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        api.process.kill()
        raise
    assert api.process.returncode == 0, error
    return error


@pytest.fixture
def serving() -> Iterator[Callable[..., Api]]:
    """Starts servers with options of the test's own."""
    started: list[Api] = []

    def begin(*options: str, **more: Any) -> Api:
        started.append(start(*options, **more))
        return started[-1]

    yield begin
    for api in started:
        if api.process.poll() is None:
            assert "Traceback" not in stop(api)


@pytest.fixture(scope="session")
def one_server() -> Iterator[Api]:
    """A server for many tests."""
    api = start("--seed", "7")
    yield api
    assert "Traceback" not in stop(api)


@pytest.fixture
def api(one_server: Api) -> Iterator[Api]:
    """A server with nothing in it."""
    yield one_server
    for name in one_server.json("GET", "/proxies"):
        assert one_server.ask("DELETE", f"/proxies/{quote(name, safe='')}")[0] == 204


def connect(address: str) -> socket.socket:
    """A connection to `host:port`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=DEADLINE_S)


def read_all(sock: socket.socket) -> bytes:
    """Until the end of the stream."""
    found = bytearray()
    while data := sock.recv(2**16):
        found += data
    return bytes(found)


def read(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    found = bytearray()
    while len(found) < size and (data := sock.recv(size - len(found))):
        found += data
    return bytes(found)


@pytest.fixture
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the published Node client is installed; a skip where no registry can be reached."""
    place = tmp_path_factory.getbasetemp() / "node-client"
    if not (place / "node_modules").exists():
        place.mkdir(exist_ok=True)
        subprocess.run(
            [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
                str(place),
                "toxiproxy-node-client@4",
            ],
            check=True,
            capture_output=True,
            timeout=500,
        )
    return place
