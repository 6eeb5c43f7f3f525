"""A plan is all that a trial is made of: as JSON and back it is the same, for every fault."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.trace import Operation
from blackstart.faults import KINDS
from blackstart.faults.clients import Clients
from blackstart.faults.db import BREAKS, Break
from blackstart.faults.disk import Full
from blackstart.faults.dns import Dns
from blackstart.faults.errno import Errno
from blackstart.faults.file import DAMAGES, Damage
from blackstart.faults.kill import Kill
from blackstart.faults.kill_one import KillOne
from blackstart.faults.limit import Limit
from blackstart.faults.link import Link
from blackstart.faults.peer import Peer
from blackstart.faults.point import Point
from blackstart.faults.power import Missing, PowerCut
from blackstart.faults.signals import Signal
from blackstart.faults.time import Jump
from blackstart.report.text import each_string, escape, unescape
from blackstart.targets import Patience
from blackstart.trials import Plan
from blackstart.trials.plan import decode, encode

# Paths may hold any bytes: those that are no UTF-8 arrive as lone surrogates.
ANY_PATH = st.text(
    st.one_of(
        st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"),
        st.sampled_from([chr(code) for code in range(0xDC80, 0xDD00)]),
    ),
    min_size=1,
    max_size=20,
)
CALLS = st.sampled_from(["write", "fsync", "openat", "rename"])
PHASES = st.sampled_from(["run", "restart"])
OPERATIONS = st.builds(
    Operation, index=st.integers(0, 10**6), call=CALLS, nth=st.integers(1, 10**6), path=ANY_PATH, masked=ANY_PATH,
    path2=ANY_PATH, kind=st.sampled_from(["file", "pipe"]), fd=st.integers(-1, 2**31 - 1),
    offset=st.integers(-1, 2**62), size=st.integers(-1, 2**62), flags=st.integers(0, 2**32 - 1),
    site=st.lists(ANY_PATH, max_size=3).map(tuple),
)  # fmt: skip
POINTS = st.builds(
    Point, call=CALLS, path=ANY_PATH, nth=st.integers(1, 10**6), operation=st.one_of(st.none(), OPERATIONS)
)
MISSING = st.builds(
    Missing, call=CALLS, path=ANY_PATH, nth=st.integers(1, 10**6), parts=st.lists(st.integers(0, 99)).map(tuple)
)
FAULTS = st.one_of(
    st.builds(Kill, point=POINTS, phase=PHASES),
    st.builds(
        Errno, point=POINTS, error=st.sampled_from(["EIO", "ENOSPC", "short"]), persistent=st.booleans(), phase=PHASES
    ),
    st.builds(Damage, path=ANY_PATH, damage=st.sampled_from(DAMAGES), phase=PHASES),
    st.builds(Break, path=ANY_PATH, what=st.sampled_from(BREAKS), phase=PHASES),
    st.builds(
        PowerCut,
        model=st.sampled_from(["ext4", "posix"]),
        last=MISSING,
        done=st.integers(1, 9),
        missing=st.lists(MISSING, max_size=4).map(tuple),
        garbage=st.booleans(),
    ),
    st.builds(
        Full, point=POINTS, what=st.sampled_from(["bytes", "entries"]), room=st.integers(0, 2**40),
        freed=st.booleans(), phase=PHASES,
    ),
    st.builds(
        Limit, what=st.sampled_from(["descriptors", "memory", "size", "processes"]), most=st.integers(0, 2**40),
        phase=PHASES,
    ),
    st.builds(
        Signal, name=st.sampled_from(["TERM", "HUP"]), moment=st.sampled_from(["work", "stop"]),
        point=st.one_of(st.none(), POINTS),
    ),
    st.builds(KillOne, point=POINTS, role=ANY_PATH, phase=PHASES),
    st.builds(Jump, point=POINTS, seconds=st.floats(-1e9, 1e9), phase=PHASES),
    st.builds(Peer, point=POINTS, how=st.sampled_from(["silent", "reset"]), back_s=st.floats(0, 9), phase=PHASES),
    st.builds(Link, what=st.sampled_from(["loss", "delay"]), ports=st.just((1, 2)), point=st.one_of(st.none(), POINTS)),
    st.builds(Clients, how=st.sampled_from(["half", "many"]), path=ANY_PATH),
    st.builds(Dns, how=st.sampled_from(["mute", "wrong"]), nth=st.integers(1, 99), back_s=st.floats(0, 9)),
)
PLANS = st.builds(
    Plan,
    kind=st.sampled_from(["null", *KINDS]),
    start=st.sampled_from(["S0", "S1"]),
    faults=st.lists(FAULTS, max_size=3).map(tuple),
    patience=st.builds(Patience, deadline_s=st.floats(0.1, 1e4), hard_s=st.floats(0.1, 1e4)),
    rerun=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


@given(PLANS)
def test_a_plan_survives_json(plan: Plan) -> None:
    assert decode(encode(plan)) == plan
    assert encode(decode(encode(plan))) == encode(plan)


@given(PLANS)
def test_a_plan_survives_the_report(plan: Plan) -> None:
    """A finding's plan travels as plain values in the JSON report, and a replay converts it back."""
    written = msgspec.json.encode(each_string(msgspec.to_builtins(plan), escape))
    assert msgspec.convert(each_string(msgspec.json.decode(written), unescape), Plan) == decode(encode(plan))


@given(PLANS)
def test_a_plan_can_be_told_in_one_line(plan: Plan) -> None:
    assert str(plan) == ("; ".join(map(str, plan.faults)) or "no fault")


def test_every_kind_has_a_fault_in_this_test() -> None:
    point = Point(call="write", path="x", nth=1)
    kinds = {Kill(point=point).kind, Errno(point=point, error="EIO").kind}
    kinds |= {Full(point=point).kind, Limit(what="size", most=1).kind}
    kinds |= {KillOne(point=point, role="x").kind, Jump(point=point, seconds=1.0).kind}
    kinds |= {Signal(name="TERM", moment="stop").kind, Peer(point=point, how="silent").kind, Dns(how="mute").kind}
    kinds |= {Link(what="loss", ports=(1,)).kind, Clients(how="half", path="x").kind}
    kinds |= {Damage(path="x", damage="empty").kind, Break(path="x", what="locked").kind}
    assert kinds | {PowerCut(model="ext4", last=Missing(call="write", path="x", nth=1), done=1).kind} == set(KINDS)


def test_what_cannot_be_read_names_its_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.faults\[0\]"):
        decode(b'{"kind": "errno", "start": "S0", "faults": [{"fault": "errno", "error": 3}]}')
    with pytest.raises(msgspec.ValidationError, match="earthquake"):
        decode(b'{"kind": "x", "start": "S0", "faults": [{"fault": "earthquake"}]}')
