"""Kind clients: a crowd at each port of a service, there from ready to healed, on a real socket."""

from __future__ import annotations

import socket

import msgspec
import pytest

from blackstart.faults import AnyFault
from blackstart.faults.clients import CROWD, GARBAGE, HALF, MANY, SLOW, VANISH, Clients, candidates
from blackstart.faults.scene import CannotInject

from .build import calibration, clean, trace
from .scenes import Caller, conducted, scene

LISTENS = "socket:inet:127.0.0.1:80"


@pytest.mark.parametrize("how", CROWD)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_they_come_when_it_is_ready_and_leave_when_it_is_healed(how: str, family: socket.AddressFamily) -> None:
    one = scene()
    one.new_socket = socket.socket
    host, place = ("127.0.0.1", "inet:127.0.0.1") if family == socket.AF_INET else ("::", "inet6:[::]")
    with socket.create_server((host, 0), family=family, backlog=300) as server:
        path = f"socket:{place}:{server.getsockname()[1]}"
        with pytest.raises(KeyError), Clients(how=how, path=path).inject(one):
            (order,) = one.tampers
            (come,) = one.when_ready
            assert order.act is not None and order.act(Caller()) == (False, "")
            assert come() and order.act(Caller()) == (True, "")
            first, _ = server.accept()
            first.settimeout(60)
            if how != VANISH:
                assert first.recv(10) == b"GET / HTTP" if how not in (GARBAGE, MANY) else how == MANY or first.recv(10)
            raise KeyError
        assert one.tampers == [] and one.when_ready == []
        try:
            while first.recv(1 << 16):
                pass
        except ConnectionResetError:
            assert how != MANY
        first.close()


def test_where_nobody_listens_nobody_comes() -> None:
    one = scene()
    one.new_socket = socket.socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Clients(how=HALF, path=f"socket:inet:127.0.0.1:{port}").inject(one):
        assert not one.when_ready[0]()
    with pytest.raises(CannotInject), Clients(how=HALF, path=LISTENS).inject(scene()):
        pass


@pytest.mark.parametrize(("delivered", "fired"), [(True, 1), (False, 0)])
def test_it_fired_only_if_the_service_turned_to_clients_while_they_were_there(delivered: bool, fired: int) -> None:
    account = Clients(how=HALF, path=LISTENS).account(conducted((0, ""), delivered=delivered), 0)
    assert account.fired == fired and account.note


@pytest.mark.parametrize(("note", "fired"), [("", 0), ("3000 bytes of answers read slowly", 1)])
def test_slow_readers_fired_only_if_there_was_something_to_read(note: str, fired: int) -> None:
    account = Clients(how=SLOW, path=LISTENS).account(conducted((0, note)), 0)
    assert account.fired == fired
    assert account.note.endswith(note or "nothing of an answer was read")


def test_slow_readers_hold_whoever_sends_and_stay_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CROWD, SLOW, 1)
    one = scene()
    one.new_socket = socket.socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = f"socket:inet:127.0.0.1:{server.getsockname()[1]}"
        with Clients(how=SLOW, path=path).inject(one):
            (order,) = one.tampers
            assert one.hold_s > 0 and one.when_ready[0]() and order.act is not None
            client, _ = server.accept()
            with client:
                client.setblocking(False)
                sent, word = 0, b"x" * 5000
                with pytest.raises(BlockingIOError):
                    while sent < 1 << 20:
                        sent += client.send(word)
                client.settimeout(60)
                for _ in range(4):
                    client.send(word)  # there is room again and again, though never much
            assert sent < 200_000
            assert order.act(Caller())[1].endswith("bytes of answers read slowly")
        assert one.hold_s == 0


def test_each_crowd_at_each_port_of_a_service() -> None:
    anywhere = "socket:inet6:[::]:80"
    others = ("socket:unix:/x", "socket:inet:127.0.0.1:0", "socket:inet6:[::]:0")
    run = clean(trace(*(("listen", path) for path in (LISTENS, anywhere, *others))))
    service = msgspec.structs.replace(calibration(None, run), is_service=True)
    found = [c.fault for c in candidates(run, service)]
    expected = {(how, path) for how in CROWD for path in (LISTENS, anywhere)}
    assert {(f.how, f.path) for f in found if isinstance(f, Clients)} == expected
    assert list(candidates(run, calibration(None, run))) == []


def test_json_and_text() -> None:
    fault = Clients(how=HALF, path=LISTENS)
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault) == "50 clients of inet:127.0.0.1:80 send half a request and stay"
