"""blackhole makes the listener silent."""

from __future__ import annotations

from blackstart.proxy.toxic import Toxic
from blackstart.proxy.toxics.blackhole import Blackhole


def test_it_acts_on_listeners_of_streams_alone() -> None:
    toxic = Toxic("t", "downstream", Blackhole())
    assert toxic.door == "silent"
    assert toxic.can("tcp")
    assert not toxic.can("udp")
    assert not toxic.can("unix")
