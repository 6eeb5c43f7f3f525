"""slow_accept admits late."""

from __future__ import annotations

import asyncio

from blackstart.core.clock import SYSTEM
from blackstart.proxy.interfaces import Visit
from blackstart.proxy.toxics.slow_accept import SlowAccept


def test_everybody_is_admitted_after_the_delay() -> None:
    began = SYSTEM.monotonic()
    assert asyncio.run(SlowAccept(delay=40).admit(Visit())) is True
    assert SYSTEM.monotonic() - began >= 0.039
