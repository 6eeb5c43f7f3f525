"""duplicate sends datagrams twice."""

from __future__ import annotations

from blackstart.proxy.toxic import Toxic
from blackstart.proxy.toxics.duplicate import Duplicate
from tests.unit.proxy.stage import delivered


def test_each_datagram_comes_again() -> None:
    assert delivered(Duplicate(delay=20), b"a", b"b") == [(0.0, b"a"), (0.02, b"a"), (0.0, b"b"), (0.02, b"b")]


def test_it_is_for_datagrams_alone() -> None:
    toxic = Toxic("t", "downstream", Duplicate())
    assert toxic.can("udp")
    assert not toxic.can("tcp")
