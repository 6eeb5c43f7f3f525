"""Ends of a connection at moments that are hard to meet: one that is reset as the other direction ends, one that was
sent much before there was somebody to take it.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

import pytest

from blackstart.proxy.connection import Connection, End
from blackstart.proxy.link import Link
from blackstart.proxy.pipe import FIN
from blackstart.proxy.splice import Splice
from blackstart.proxy.toxic import UPSTREAM
from tests.unit.proxy.stage import Sink


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


class TooEarly(asyncio.Transport):
    """One of Python 3.11: it was told to pause before it had begun, and began all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused, self.reads = True, True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        if not self.is_paused:
            self.is_paused, self.reads = True, False

    def resume_reading(self) -> None:
        self.is_paused, self.reads = False, True


def begun(early: bytes, *, is_full: bool) -> tuple[End, Link, Sink]:
    """An end that had read something before the other one was there."""
    end, sink = End(), Sink()
    sink.full = is_full
    end.transport, link = TooEarly(), Link(UPSTREAM, sink, lambda: None)
    end.data_received(early)
    end.begin(cast(Connection, Ended()), link)
    return end, link, sink


def test_a_splice_is_not_raced_by_a_transport_that_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Splice, "start", lambda *_: pytest.fail("not before its transport can be told to pause"))
    _, link, sink = begun(bytes(2**20), is_full=False)
    assert link.bytes == len(sink.data) == 2**20


def test_one_whose_other_end_has_no_room_reads_nothing_until_there_is() -> None:
    end, _, sink = begun(b"much", is_full=True)
    transport = cast(TooEarly, end.transport)
    assert not transport.reads
    sink.drain()
    assert transport.reads
