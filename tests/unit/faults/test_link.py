"""Kind link: bad links at what is said to a companion, and to nobody else; fired only if a packet met it."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from blackstart.campaign.apart import untouched
from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.trace import Operation
from blackstart.faults import AnyFault
from blackstart.faults.link import CUT, FORGOTTEN, LOSSY, PLAIN, SLOW, Link, candidates, companion_ports, unlinked
from blackstart.faults.point import Point
from blackstart.faults.scene import RESTART, CannotInject
from blackstart.lab import Joined

from .build import atomic_rewrite, calibration, clean, trace
from .scenes import Disk, conducted, scene

THERE, OWN = "socket:inet:127.0.0.1:8201", "socket:inet:127.0.0.1:8200"
SIX = "socket:inet6:[::1]:80"
POINT = Point(call="sendto", path=THERE, nth=1)


def sockets(*rows: tuple[str, str]) -> tuple[Operation, ...]:
    return trace(*((call, path, {"kind": "socket"}) for call, path in rows))


def serving(run: CleanRun) -> Calibration:
    return msgspec.structs.replace(calibration(None, run), is_service=True, peers=(THERE,))


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
    assert companion_ports(run, serving(run)) == ()
    assert list(candidates(run, serving(run))) == []


def test_asked_for_first_over_ipv6_and_then_served_over_ipv4() -> None:
    asked = [("connect", "socket:inet6:[::1]:8201"), ("connect", THERE), ("sendmsg", THERE)]
    run = clean(sockets(*asked))
    assert companion_ports(run, serving(run)) == (8201,)


def test_those_to_whom_a_service_sends_datagrams_are_no_companions() -> None:
    run = clean(sockets(("bind", OWN), ("sendto", "socket:inet:127.0.0.1:43751"), ("sendto", THERE)))
    assert companion_ports(run, serving(run)) == (8201,)


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
    with pytest.raises(CannotInject, match="no companions"), Link(what=CUT, ports=(1,), point=POINT).inject(scene()):
        pass


def test_the_gate_is_given_back() -> None:
    one = scene()
    joint = object.__new__(Joined)  # nothing is asked of it
    one.joint = lambda: joint
    with pytest.raises(KeyError), Link(what=CUT, ports=(1,), point=POINT).inject(one):
        assert len(one.tampers) == 1
        raise KeyError
    assert one.tampers == []


def test_during_recovery_it_is_cut_as_it_connects_or_forgets_what_is_first_said() -> None:
    run = clean((*atomic_rewrite(), *sockets(("connect", THERE), *[("sendto", THERE)] * 5)))
    late = [c for c in candidates(run, serving(run)) if c.fault.phase == RESTART]
    faults = [c.fault for c in late if isinstance(c.fault, Link) and c.fault.point is not None]
    assert {(f.point.call, f.point.nth, f.what) for f in faults if f.point} == {
        ("connect", 1, CUT), ("sendto", 1, FORGOTTEN)
    }  # fmt: skip
    assert len(late) == 2 and all(c.crash is not None and str(c.fault).endswith("during recovery") for c in late)


def test_what_leads_past_the_link_is_named_with_the_reason() -> None:
    unix = "socket:unix:/run/db"
    rows = [("connect", path) for path in (THERE, SIX, unix, "socket:unix:@bus", "socket:unix:/run/other", OWN)]
    run = clean(sockets(*rows))
    known = msgspec.structs.replace(serving(run), peers=(THERE, SIX, unix))
    assert dict(unlinked(run, known)) == {
        "inet6:[::1]:80": "kind link: the companions' network is joined over IPv4 only",
        "unix:/run/db": "kind link: a unix socket is no network",
        "unix:@bus": "kind link: an abstract name exists in one network only, so no link was tried",
    }
    assert {what for what, _ in untouched(known, ("link", "power"))} >= {"inet6:[::1]:80", "files of the companions"}
    (told,) = untouched(calibration(None, run), ("link",))
    assert "services only" in told[1]


def test_json_and_text() -> None:
    for what in (PLAIN, CUT, LOSSY, SLOW, FORGOTTEN):
        fault = Link(what=what, ports=(8201,), point=POINT)
        assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    told = str(Link(what=CUT, ports=(1,), point=POINT))
    assert told == f"the link to the companions is cut for 2.5 s from {POINT} on"
