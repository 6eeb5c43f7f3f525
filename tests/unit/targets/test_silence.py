"""What of a service's calls its users can notice."""

from __future__ import annotations

import pytest

from blackstart.core.trace import FILE, OTHER, PIPE, SOCKET, Operation
from blackstart.targets.silence import is_silent

TAKING = [("accept4", SOCKET), ("read", SOCKET), ("write", FILE), ("write", PIPE), ("close", FILE), ("openat", FILE)]


@pytest.mark.parametrize(
    ("call", "kind", "silent"),
    [
        ("sendto", SOCKET, False),
        ("write", SOCKET, False),
        ("close", SOCKET, False),
        ("shutdown", SOCKET, False),
        ("sendfile", OTHER, False),
        ("accept4", SOCKET, True),
    ],
)
def test_a_service_is_silent_until_it_sends_or_hangs_up(call: str, kind: str, silent: bool) -> None:
    calls = [*TAKING, (call, kind)]
    assert is_silent(Operation(index=at, call=one, kind=what) for at, (one, what) in enumerate(calls)) == silent
