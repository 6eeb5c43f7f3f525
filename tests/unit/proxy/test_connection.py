"""An end of a connection that is reset at the very moment at which the other direction ends."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

from blackstart.proxy.connection import Connection, End
from blackstart.proxy.pipe import FIN


class Reset(asyncio.Transport):
    """Gone, as the kernel knows, and not yet its event loop."""

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


class Ended:
    def __init__(self) -> None:
        self.ends: list[Any] = []

    def direction_ended(self, end: End) -> None:
        self.ends.append(end)


def test_the_direction_has_ended_all_the_same() -> None:
    end, connection = End(), Ended()
    end.transport, end.connection = Reset(), cast(Connection, connection)
    end.end(FIN)
    assert connection.ends == [end]
