"""accept_close turns a connection away."""

from __future__ import annotations

import asyncio

import pytest

from blackstart.proxy.interfaces import Visit
from blackstart.proxy.toxics.accept_close import AcceptClose


@pytest.mark.parametrize("reset", [0, 1])
def test_nobody_is_admitted(reset: int) -> None:
    visit = Visit()
    assert asyncio.run(AcceptClose(reset=reset).admit(visit)) is False
    assert visit.reset is bool(reset)
