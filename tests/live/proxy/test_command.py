"""The command: what it refuses before it serves, and how it says so. covers: R-19"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.proxy.conftest import Api, connect, read, stop

pytestmark = pytest.mark.live


def refused(*options: str) -> str:
    """What the command says when it does not start; its status must be that of wrong usage."""
    done = subprocess.run(
        [sys.executable, "-m", "blackstart", "proxy", *options],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_config_file_makes_proxies_with_toxics(serving: Callable[..., Api], echo: str, tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    toxics = [{"type": "limit_data", "attributes": {"bytes": 2}, "rule": "@1"}]
    config.write_text(json.dumps([{"name": "a", "listen": "127.0.0.1:0", "upstream": echo, "toxics": toxics}]))
    api = serving("--config", str(config), "--seed", "5")
    assert api.seed == 5
    listen = api.json("GET", "/proxies/a")["listen"]
    for seen in (b"ab", b"abcd"):
        with connect(listen) as sock:
            sock.sendall(b"abcd")
            assert read(sock, 4) == seen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ('{"a": 1}', "write it like"),
        ('[{"name": "a"}]', "missing required field: upstream at proxy 1"),
        ('[{"name": "a", "upstream": "x:1", "listen": "nowhere"}]', "missing port in address"),
        ('[{"name": "a", "upstream": "x:1", "toxics": [{"type": "no"}]}]', "invalid toxic type"),
        ('[{"name": "a", "upstream": "x:1", "toxics": [{"type": "latncy"}]}]', "did you mean 'latency'?"),
        ('[{"name": "a", "upstream": "x:1", "toxics": [{"type": "noop", "rule": "@"}]}]', "needs the number of a hit"),
        (
            '[{"name": "a", "listen": "127.0.0.1:0", "upstream": "x:1", "toxics": [{"type": "noop", "toxicity": 50}]}]',
            "toxic noop_downstream of proxy 'a': toxicity is a number from 0 to 1, not 50",
        ),
        ('[{"name": "a\\ud800", "upstream": "x:1", "listen": "nowhere"}]', "missing port in address"),
    ],
)
def test_a_wrong_config_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "proxies.json"
    config.write_text(text)
    error = refused("--port", "0", "--config", str(config))
    assert said in error
    assert str(config) in error


def test_what_a_config_file_says_in_vain_is_told(serving: Callable[..., Api], tmp_path: Path) -> None:
    """As Toxiproxy does, the server starts; a toxic that is milder than meant would be taken for a good program."""
    config = tmp_path / "proxies.json"
    toxics = [{"type": "latency", "attributes": {"latncy": 5}}, {"type": "noop", "toxcity": 0.5}]
    proxy = {"name": "a", "LISTEN": "127.0.0.1:0", "upstream": "127.0.0.1:1", "Logger": {}}
    config.write_text(json.dumps([proxy, proxy | {"toxics": toxics, "upstreem": "x"}]))
    api = serving("--config", str(config))
    assert len(api.json("GET", "/proxies/a/toxics")) == 2
    said = stop(api)
    assert said.splitlines() == [
        f"{config}: there are two proxies 'a', and only the last one is made",
        f"{config}: proxy 'a': nobody reads 'upstreem'; did you mean 'upstream'?",
        f"{config}: toxic latency of proxy 'a', attributes: nobody reads 'latncy'; did you mean 'latency'?",
        f"{config}: toxic noop of proxy 'a': nobody reads 'toxcity'; did you mean 'toxicity'?",
    ]


def test_the_advice_fits_what_is_wrong_with_the_address() -> None:
    for host in ("host.invalid", "192.0.2.1"):
        error = refused("--host", host, "--port", "0", "--no-token")
        assert "give --host an address of this machine" in error and "another --port" not in error


def test_a_file_that_is_not_there_and_a_port_that_is_taken(tmp_path: Path) -> None:
    assert "cannot be read" in refused("--port", "0", "--config", str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "address already in use" in refused("--port", str(taken.getsockname()[1]))


def test_elsewhere_than_on_loopback_a_token_is_wanted(serving: Callable[..., Api]) -> None:
    assert "--token" in refused("--host", "0.0.0.0", "--port", "0")
    assert serving("--host", "0.0.0.0", "--no-token").json("GET", "/version")


def test_the_live_view_shows_what_passes(echo: str, tmp_path: Path) -> None:
    from rich.console import Console

    from blackstart.cli.proxy import table
    from blackstart.proxy import SyncProxies

    with SyncProxies(seed=1) as proxies:
        proxy = proxies.create("shown", echo, toxics=[{"type": "latency"}])
        with connect(proxy.listen) as sock:
            sock.sendall(b"12345")
            assert read(sock, 5) == b"12345"
            proxies.create("[red]x\x1b[2J", echo)
            console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
            console.print(table(proxies._proxies))
    text = console.export_text()
    assert "shown" in text
    assert "[red]x" in text
    assert "\x1b[2J" not in text
    assert "latency_downstream: 1" in text
