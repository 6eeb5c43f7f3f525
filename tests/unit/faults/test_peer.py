"""Kind peer: where it can strike, what it does to a real proxy on loopback, and what it gives back."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import msgspec
import pytest

from blackstart.core.history import Peer as Told
from blackstart.faults import AnyFault
from blackstart.faults.peer import (
    CLOSED,
    PARTIAL,
    REFUSED,
    RESET,
    SILENT,
    SLOW,
    UNANSWERED,
    Peer,
    candidates,
    first_connect,
)  # fmt: skip
from blackstart.faults.point import Point
from blackstart.faults.scene import Broken, CannotInject, CompanyGone, Scene
from blackstart.proxy import AddressError, Proxy

from .build import NOTES, calibration, clean, trace
from .scenes import Caller, conducted, scene

PATH = "socket:inet:10.1.2.3:80"
CONNECT = Point(call="connect", path=PATH, nth=1)
T = TypeVar("T")
PATIENCE_S = 60.0


class Company:
    """One proxy to an echo server, in a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.broken: Broken | None = None
        self.is_gone = False
        self.one, self.server = self.call(self._open())

    async def _open(self) -> tuple[Proxy, asyncio.Server]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1000):
                writer.write(data)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        proxy = Proxy("echo", "127.0.0.1:0", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await proxy.start()
        return proxy, server

    def proxies(self, path: str) -> tuple[Proxy, ...]:
        return (self.one,) if path == PATH else ()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        if self.is_gone:
            work.close()
            raise CompanyGone
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def breaks(self, path: str, broken: Broken) -> None:
        self.broken = broken

    def told(self) -> Told:
        assert self.broken is not None
        return self.broken.told(PATH)

    def connect(self) -> socket.socket:
        host, port = self.one.listen.rsplit(":", 1)
        made = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        made.settimeout(PATIENCE_S)
        return made

    def close(self) -> None:
        self.call(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE_S)
        self.loop.close()

    async def _close(self) -> None:
        await self.one.delete()
        self.server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


@pytest.fixture
def company() -> Iterator[Company]:
    made = Company()
    yield made
    made.close()


def stage(company: Company) -> Scene:
    one = scene()
    one.peers = lambda: company
    return one


def strike(one: Scene) -> None:
    (order,) = one.tampers
    assert order.act is not None
    assert order.act(Caller()) == (True, "")


def until_hit(company: Company) -> None:
    """Until what was sent has come as far as the fault: healed before that, it would be answered."""
    end_s = time.monotonic() + PATIENCE_S
    while not company.told().hits:
        assert time.monotonic() < end_s, "nothing was hit"
        time.sleep(0.001)


def answers(company: Company) -> bool:
    with company.connect() as client:
        client.sendall(b"hello")
        return client.recv(100) == b"hello"


@pytest.mark.parametrize("how", [REFUSED, SILENT, RESET, PARTIAL, CLOSED, SLOW, UNANSWERED])
def test_nothing_happens_before_the_point_and_nothing_stays_after_healing(company: Company, how: str) -> None:
    one = stage(company)
    with pytest.raises(KeyError), Peer(point=CONNECT, how=how).inject(one):
        assert answers(company)
        strike(one)
        raise KeyError
    assert one.tampers == []
    assert answers(company)
    assert company.told().healed


def test_refused_ends_what_is_open_and_refuses_what_comes(company: Company) -> None:
    one = stage(company)
    with Peer(point=CONNECT, how=REFUSED).inject(one), company.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100)
        strike(one)
        assert client.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            company.connect()
        assert company.told().refused


def test_silent_takes_all_and_knows_nothing_of_it_when_it_is_back(company: Company) -> None:
    one = stage(company)
    with company.connect() as client:
        with Peer(point=CONNECT, how=SILENT).inject(one):
            strike(one)
            client.sendall(b"hello")
            until_hit(company)
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(100)
        assert company.told().hits == 1
        with pytest.raises(TimeoutError):
            client.recv(100)
        client.settimeout(PATIENCE_S)
        client.sendall(b"again")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_a_connect_without_an_answer_is_counted_and_what_is_connected_goes_on(company: Company) -> None:
    one = stage(company)
    with company.connect() as open_before, Peer(point=CONNECT, how=UNANSWERED).inject(one):
        strike(one)
        assert company.told().hits == 0  # those that fill the queue are ours
        host, port = company.one.listen.rsplit(":", 1)
        with pytest.raises(TimeoutError):
            socket.create_connection((host, int(port)), timeout=0.2)
        open_before.sendall(b"hello")
        assert open_before.recv(100) == b"hello"
    told = company.told()
    assert told.hits >= 1 and told.healed and not told.refused


def test_a_second_silence_is_one_more(company: Company) -> None:
    """The toxics of the first one stay, for the connections that it fell upon."""
    one = stage(company)
    for _ in range(2):
        with company.connect() as client:
            client.settimeout(0.1)
            with Peer(point=CONNECT, how=SILENT).inject(one):
                strike(one)
                client.sendall(b"hello")
                until_hit(company)
                with pytest.raises(TimeoutError):
                    client.recv(100)
            assert company.told().hits == 1 and company.told().healed
        assert answers(company)


@pytest.mark.parametrize(("how", "is_reset"), [(RESET, True), (PARTIAL, False)])
def test_half_an_answer_on_one_connection_alone(company: Company, how: str, is_reset: bool) -> None:
    one = stage(company)
    with company.connect() as other, Peer(point=CONNECT, how=how).inject(one):
        strike(one)
        with company.connect() as client:
            client.sendall(b"12345678")
            assert client.recv(100) == b"1234"
            if is_reset:
                with pytest.raises(ConnectionResetError):
                    client.recv(100)
            else:
                assert client.recv(100) == b""
        other.sendall(b"hello")
        assert other.recv(100) == b"hello"
        assert answers(company)
        assert company.told().hits == 1


def test_a_peer_that_is_not_reached_through_us_cannot_be_broken(company: Company) -> None:
    elsewhere = Peer(point=Point(call="connect", path="socket:inet:10.1.2.4:80", nth=1), how=SILENT)
    with pytest.raises(CannotInject), elsewhere.inject(stage(company)):
        pass
    with pytest.raises(CannotInject), Peer(point=CONNECT, how=SILENT).inject(scene()):
        pass


@pytest.mark.parametrize("back_s", [0.0, 1.5])  # its port is to be taken before it is back
def test_a_peer_that_cannot_come_back_is_told_when_all_is_healed(company: Company, back_s: float) -> None:
    one = stage(company)
    host, port = company.one.listen.rsplit(":", 1)
    with socket.socket() as other, pytest.raises(AddressError):
        with Peer(point=CONNECT, how=REFUSED, back_s=back_s).inject(one):
            strike(one)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((host, int(port)))
            other.listen()
            while back_s and company.one.toxics:
                company.call(asyncio.sleep(0.005))
    assert one.tampers == []
    assert not company.told().healed


def test_nothing_is_healed_where_the_company_is_gone(company: Company) -> None:
    one = stage(company)
    with pytest.raises(KeyError), Peer(point=CONNECT, how=REFUSED).inject(one):
        company.is_gone = True
        raise KeyError
    company.is_gone = False
    assert one.tampers == []


@pytest.mark.parametrize(
    ("firings", "peers", "fired"),
    [
        ((), (), 0),
        (((0, ""),), (Told(address=PATH),), 0),
        (((0, ""),), (Told(address=PATH, hits=2),), 1),
        (((0, ""),), (Told(address=PATH, refused=True),), 1),
        ((), (Told(address=PATH, hits=2),), 0),
    ],
)
def test_it_fired_only_if_something_that_passed_was_hit(
    firings: tuple[tuple[int, str], ...], peers: tuple[Told, ...], fired: int
) -> None:
    account = Peer(point=CONNECT, how=SILENT).account(conducted(*firings, hits=(1,), peers=peers), 0)
    assert account.fired == fired
    assert account.note


def test_every_way_at_the_calls_on_its_socket_and_one_during_recovery() -> None:
    calls = (("connect", PATH), ("sendto", PATH), ("connect", "socket:unix:/x"), ("write", NOTES, {"size": 5}))
    run = clean(trace(*calls))
    found = list(candidates(run, msgspec.structs.replace(calibration(None, run), peers=(PATH,))))
    faults = [c.fault for c in found if c.crash is None]
    assert all(isinstance(fault, Peer) and fault.point.path == PATH for fault in faults)
    hows = {(f.point.call, f.how) for f in faults if isinstance(f, Peer)}
    assert hows == {("connect", how) for how in (REFUSED, SILENT, RESET, PARTIAL, CLOSED, SLOW, UNANSWERED)} | {
        ("sendto", how) for how in (REFUSED, SILENT, RESET, PARTIAL)
    }
    assert [c.fault.phase for c in found if c.crash is not None] == ["restart"]
    assert list(candidates(run, calibration(None, run))) == []


def test_a_unix_socket_has_no_syn_that_could_vanish() -> None:
    path = "socket:unix:$CWD/peer.sock"
    run = clean(trace(("connect", path)))
    found = candidates(run, msgspec.structs.replace(calibration(None, run), peers=(path,)))
    hows = {candidate.fault.how for candidate in found if isinstance(candidate.fault, Peer)}
    assert hows == {REFUSED, SILENT, RESET, PARTIAL, CLOSED, SLOW}


def test_who_takes_datagrams_alone_has_no_connection_that_could_be_reset() -> None:
    run = clean(trace(("sendto", PATH)))
    yardstick = msgspec.structs.replace(calibration(None, run), peers=(PATH,), datagram_peers=(PATH,))
    faults = [candidate.fault for candidate in candidates(run, yardstick)]
    assert {f.how for f in faults if isinstance(f, Peer)} == {SILENT, REFUSED, SLOW}
    first = first_connect(run, yardstick)
    assert first is not None and first.call == "sendto"


def test_json_and_text() -> None:
    fault = Peer(point=CONNECT, how=REFUSED, back_s=2.0)
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault).startswith("inet:10.1.2.3:80 is gone: open connections end, new ones are refused, for 2 s")
