"""Accounts: what did not reach the target is never said to have fired."""

from __future__ import annotations

from blackstart.core.history import EXITED, End
from blackstart.faults import KINDS
from blackstart.faults.clients import Clients
from blackstart.faults.db import Break
from blackstart.faults.disk import Full
from blackstart.faults.dns import Dns
from blackstart.faults.errno import Errno
from blackstart.faults.file import Damage, met
from blackstart.faults.kill import Kill
from blackstart.faults.kill_one import KillOne
from blackstart.faults.limit import Limit
from blackstart.faults.link import Link
from blackstart.faults.peer import Peer
from blackstart.faults.point import Point
from blackstart.faults.signals import Signal
from blackstart.faults.time import Jump
from blackstart.gate import Firing
from blackstart.targets import Conducted

from .build import NOTES, trace

OPERATION = trace(("write", NOTES, {"size": 9}))[0]
POINT = Point(call="write", path=NOTES, nth=1, operation=OPERATION)


def conducted(hits: tuple[int, ...], *firings: Firing, outputs: int = 0) -> Conducted:
    return Conducted(end=End(how=EXITED), outputs=(), hits=hits, firings=firings, outputs_at_firing=outputs)


def firing(index: int = 0, **more: object) -> Firing:
    return Firing(tamper_index=index, operation=OPERATION, verb="raise", **more)  # type: ignore[arg-type]


def test_a_place_that_was_never_reached() -> None:
    for fault in (Kill(point=POINT), Errno(point=POINT, error="EIO")):
        account = fault.account(conducted((0,)), 0)
        assert (account.hits, account.fired, account.matched) == (0, 0, None)
        assert "never came to this call" in account.note


def test_a_firing_that_was_not_delivered_does_not_count() -> None:
    account = Errno(point=POINT, error="EIO").account(
        conducted((1,), firing(delivered=False, note="the caller was gone")), 0
    )
    assert account.fired == 0
    assert account.note == "the caller was gone"


def test_what_fired_says_where_and_whether_it_was_planned() -> None:
    account = Errno(point=POINT, error="EIO").account(conducted((1,), firing(matched=True), outputs=4), 0)
    assert (account.fired, account.matched, account.operation, account.outputs) == (1, True, OPERATION, 4)


def test_the_firings_of_others_are_not_mine() -> None:
    both = conducted((1, 1), firing(0, matched=True), firing(1, matched=False))
    fault = Errno(point=POINT, error="ENOSPC", persistent=True)
    assert fault.account(both, 1).matched is False
    assert fault.account(both, 0).matched is True


def test_more_faults_than_the_gate_counted_is_no_crash() -> None:
    assert Kill(point=POINT).account(conducted(()), 3).fired == 0


def test_damage_counts_when_the_target_turned_to_the_file() -> None:
    watchers = len(met(NOTES))
    for fault in (Damage(path=NOTES, damage="empty"), Break(path=NOTES, what="header lost")):
        untouched = fault.account(conducted((5, *[0] * watchers, 7)), 1)
        assert (untouched.hits, untouched.fired) == (0, 0)
        touched = fault.account(conducted((5, 2, *[0] * (watchers - 1), 7)), 1)
        assert (touched.hits, touched.fired) == (2, 1)
        assert touched.note.startswith("the target turned to it 2 times ")


MORE = (
    Full(point=POINT), Limit(what="size", most=1), KillOne(point=POINT, role="app"), Jump(point=POINT, seconds=1.0),
    Link(what="loss", ports=(1,), point=POINT), Peer(point=POINT, how="silent"), Dns(how="mute"),
    Clients(how="half", path="socket:inet:127.0.0.1:80"),
)  # fmt: skip


def test_every_kind_names_itself_as_in_the_table() -> None:
    faults = (
        Kill(point=POINT), Errno(point=POINT, error="EIO"), Damage(path=NOTES, damage="empty"),
        Break(path=NOTES, what="locked"), Signal(name="TERM", moment="stop"),
    )  # fmt: skip
    more = {fault.kind for fault in MORE}
    assert {fault.kind for fault in faults} | more | {"power"} == set(KINDS), "a power cut accounts for itself: `told`"
    for fault in (*faults, *MORE):
        assert fault.account(conducted((0,) * 20), 0).kind == fault.kind
        assert str(fault)
