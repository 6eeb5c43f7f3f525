"""down closes the listener."""

from __future__ import annotations

import pytest

from blackstart.proxy.toxic import Toxic, ToxicError
from blackstart.proxy.toxics.down import Down


def test_it_acts_on_listeners_of_every_network() -> None:
    toxic = Toxic("t", "downstream", Down())
    assert toxic.door == "closed"
    assert all(toxic.can(network) for network in ("tcp", "udp", "unix"))


def test_it_takes_no_rule() -> None:
    with pytest.raises(ToxicError, match="takes a window, no rule"):
        Toxic("t", "downstream", Down(), rule="@3")
