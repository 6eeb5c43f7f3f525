"""Kind link: bad links at what is said to a companion, and to nobody else; fired only if a packet met it."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.trace import Operation
from blackstart.faults import AnyFault
from blackstart.faults.link import CUT, FORGOTTEN, LOSSY, PLAIN, SLOW, Link, candidates, companion_ports
from blackstart.faults.point import Point
from blackstart.faults.scene import CannotInject

from .build import calibration, clean, trace
from .scenes import Caller, Disk, conducted, scene

THERE, OWN = "socket:inet:127.0.0.1:8201", "socket:inet:127.0.0.1:8200"
SIX = "socket:inet6:[::1]:80"
POINT = Point(call="sendto", path=THERE, nth=1)


def sockets(*rows: tuple[str, str]) -> tuple[Operation, ...]:
    return trace(*((call, path, {"kind": "socket"}) for call, path in rows))


def serving(run: CleanRun) -> Calibration:
    return msgspec.structs.replace(calibration(None, run), is_service=True)


def test_each_way_at_connects_and_at_what_is_sent() -> None:
    run = clean(sockets(("bind", OWN), ("connect", THERE), *[("sendto", THERE)] * 5, ("connect", OWN), ("write", OWN)))
    assert list(candidates(run, calibration(None, run))) == []
    found = [c.fault for c in candidates(run, serving(run))]
    assert found and all(isinstance(f, Link) and f.ports == (8201,) for f in found)
    ways = Counter((f.point.call, f.what) for f in found if isinstance(f, Link) and f.point)
    assert ways == {
        **{("connect", what): 1 for what in (CUT, LOSSY, SLOW)},
        **{("sendto", what): 3 for what in (CUT, LOSSY, SLOW, FORGOTTEN)},
    }


@pytest.mark.parametrize(
    "rows",
    [
        [("connect", "socket:inet:10.0.0.1:80"), ("write", "socket:inet:10.0.0.1:80")],
        [("connect", "socket:unix:/run/db"), ("write", "socket:unix:/run/db")],
        [("connect", THERE), ("write", THERE), ("connect", SIX), ("write", SIX)],
        [("connect", THERE), ("write", THERE), ("write", "socket:unix:@bus")],
        [("bind", OWN), ("connect", OWN), ("write", OWN)],
        [("connect", THERE)],
    ],
)
def test_no_link_where_there_is_none_or_something_leads_past_it(rows: list[tuple[str, str]]) -> None:
    run = clean(sockets(*rows))
    assert companion_ports(run) == ()
    assert list(candidates(run, serving(run))) == []


def test_asked_for_first_over_ipv6_and_then_served_over_ipv4() -> None:
    asked = [("connect", "socket:inet6:[::1]:8201"), ("connect", THERE), ("sendmsg", THERE)]
    assert companion_ports(clean(sockets(*asked))) == (8201,)


@pytest.mark.parametrize(
    ("packets", "fired"), [({}, 0), ({"seen": 9, "dropped": 0}, 0), ({"dropped": 1}, 1), ({"delayed": 7}, 1)]
)
def test_it_fired_only_if_the_link_says_so(packets: dict[str, int], fired: int) -> None:
    given = msgspec.structs.replace(conducted((0, ""), hits=(1,)), packets=packets)
    account = Link(what=LOSSY, ports=(1,), point=POINT).account(given, 0)
    assert account.fired == fired
    assert account.note


def test_it_did_not_fire_where_its_place_was_not_reached() -> None:
    given = msgspec.structs.replace(conducted(hits=(0,)), packets={"dropped": 3})
    assert Link(what=LOSSY, ports=(1,), point=POINT).account(given, 0).fired == 0


def test_without_namespaces_there_is_no_link() -> None:
    with pytest.raises(CannotInject), Link(what=CUT, ports=(1,), point=POINT).inject(scene(Disk("landlock"))):
        pass


def test_there_is_no_link_to_nobody() -> None:
    one = scene()
    with Link(what=CUT, ports=(1,), point=POINT).inject(one):
        (order,) = one.tampers
        assert order.act is not None
        assert order.act(Caller()) == (False, "there are no companions that a link could lead to")


def test_the_gate_is_given_back() -> None:
    one = scene()
    with pytest.raises(KeyError), Link(what=CUT, ports=(1,), point=POINT).inject(one):
        assert len(one.tampers) == 1
        assert one.joint is not None
        raise KeyError
    assert one.tampers == []


def test_json_and_text() -> None:
    for what in (PLAIN, CUT, LOSSY, SLOW, FORGOTTEN):
        fault = Link(what=what, ports=(8201,), point=POINT)
        assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    told = str(Link(what=CUT, ports=(1,), point=POINT))
    assert told == f"the link to the companions is cut for 2.5 s from {POINT} on"
