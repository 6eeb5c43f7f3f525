"""Clients of a proxy for datagrams that are forgotten, without toxics."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from blackstart.core.clock import ManualClock
from blackstart.core.randomness import Seed
from blackstart.proxy import datagrams
from blackstart.proxy.datagrams import IDLE_S, Datagrams
from blackstart.proxy.dialling import Network


class Slow(Network):
    """Reaches the upstream once it is told to; sockets: those that lead there, in their order."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.sockets: list[socket.socket] = []

    async def reach_datagrams(self, upstream: str) -> dict[str, Any]:
        await self.may.wait()
        sock = bound()
        sock.connect(sock.getsockname())
        self.sockets.append(sock)
        return {"sock": self.sockets[-1]}


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def listening(network: Network) -> Datagrams:
    directions = {"upstream": 0, "downstream": 0}
    proxy: Any = SimpleNamespace(
        upstreams=["udp:a:1"], seed=Seed(1), toxics=[], bytes=dict(directions), sent=dict(directions), closed=[]
    )
    return Datagrams(bound(), proxy, network)


def test_who_is_forgotten_before_its_upstream_is_reached_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "FLOWS_MAX", 1)

    async def two_clients() -> list[bool]:
        network = Slow()
        made = listening(network)
        await made.start()
        for port in (1001, 1002):
            made._from_client(b"question", ("127.0.0.1", port))
        network.may.set()
        await asyncio.sleep(0.05)
        open_ones = [sock.fileno() >= 0 for sock in network.sockets]
        made.close()
        await asyncio.sleep(0)
        return open_ones

    assert asyncio.run(two_clients()) == [False, True]


def test_who_only_gets_datagrams_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(datagrams, "SYSTEM", clock)

    async def listener_and_another() -> list[str]:
        network = Slow()
        network.may.set()
        made = listening(network)
        await made.start()
        made._from_client(b"subscribe", ("127.0.0.1", 1001))
        [talk] = made._talks.values()
        clock.sleep(IDLE_S - 1)
        made._from_upstream(b"news", talk)
        clock.sleep(2)
        made._from_client(b"question", ("127.0.0.1", 1002))
        known = [record.client for record in made.records()]
        made.close()
        await asyncio.sleep(0)
        return known

    assert asyncio.run(listener_and_another()) == ["127.0.0.1:1001", "127.0.0.1:1002"]
