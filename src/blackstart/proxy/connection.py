"""A connection that a proxy carries: two sockets, and a link of toxics for each direction.

Half-closes are carried on: the end of one direction closes that direction alone, and the connection is over when both
have ended. A reset of one side resets the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

from blackstart.proxy.link import Link
from blackstart.proxy.pipe import CLOSE, FIN, RESET, Receiver
from blackstart.proxy.record import Record
from blackstart.proxy.splice import BULK_BYTES, Splice
from blackstart.proxy.toxic import DOWNSTREAM, UPSTREAM

# What the kernel sends when a socket with this option is closed: RST.
_NO_LINGER = struct.pack("ii", 1, 0)
# How much unread input is thrown away so that a close is a FIN; with input unread the kernel sends RST.
_DRAIN_BYTES_MAX = 2**24


class End(asyncio.Protocol):
    """One socket of a connection: what it reads goes to its link, what the other link brings it writes (sent_bytes)."""

    __slots__ = (
        "_early", "_early_end", "_full", "_gone", "_room", "_run",
        "connection", "is_tls", "link", "sent_bytes", "transport",
    )  # fmt: skip

    def __init__(self, is_tls: bool = False) -> None:
        self.is_tls = is_tls
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.link: Link | None = None
        self.connection: Connection | None = None
        self._full = False
        self._gone = False
        self._run = 0
        self.sent_bytes = 0
        self._early, self._early_end = b"", False
        self._room: set[Callable[[], None]] = set()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Until the other side is there. Some loops read once all the same.
        self.transport.pause_reading()

    def begin(self, connection: Connection, link: Link) -> None:
        """Let what this socket reads go to this link."""
        self.connection, self.link = connection, link
        early, self._early = self._early, b""
        if early:
            link.bytes += len(early)
            link.head.put(early)
        if self._early_end:
            link.head.end(FIN)
        if self._gone:
            connection.lost(self, None)
        elif not self.transport.is_closing():
            # First of all: in early versions of Python 3.11, a transport that was told to pause before it had begun
            # reads on, and takes itself for one that pauses.
            self.transport.resume_reading()
            if link.head.is_full:
                self._pause(link.head)

    def data_received(self, data: bytes) -> None:
        """To the link; and past it, as long as it only carries a bulk of data on."""
        link = self.link
        if link is None:
            self._early += data
            self.transport.pause_reading()
            return
        link.bytes += len(data)
        head = link.head
        head.put(data)
        if head.is_full:
            self._pause(head)
        # Whole buffers in a row: a transfer, not a conversation.
        self._run = self._run + len(data) if len(data) >= BULK_BYTES else 0
        if self._run >= 8 * BULK_BYTES and not link.stages:
            self._run = 0
            link.shortcut = Splice.start(self, link)

    def _pause(self, head: Receiver) -> None:
        self.transport.pause_reading()
        head.when_room(self.resume)

    def resume(self) -> None:
        """Read on."""
        is_short = self.link is not None and self.link.shortcut is not None
        if not self._gone and not is_short and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        if self.link is None:
            self._early_end = True
        else:
            self.link.head.end(FIN)
        # TLS knows no half-close: the transport closes itself.
        return not self.is_tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self.resume_writing()
        if self.connection is not None:
            self.connection.lost(self, exc)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        waiting, self._room = self._room, set()
        for callback in waiting:
            callback()

    # What the link that ends here calls.

    @property
    def is_full(self) -> bool:
        return self._full

    def put(self, data: bytes) -> None:
        if not self._gone and not self.transport.is_closing():
            self.transport.write(data)
            self.sent_bytes += len(data)

    def end(self, how: str) -> None:
        if self.connection is None or self._gone or self.transport.is_closing():
            return
        if how == RESET:
            self.connection.reset()
        elif how == CLOSE:
            self.connection.close()
        else:
            with contextlib.suppress(OSError):  # it was reset, and we are not told yet
                if self.transport.can_write_eof():
                    self.transport.write_eof()
            self.connection.direction_ended(self)

    def when_room(self, callback: Callable[[], None]) -> None:
        self._room.add(callback)

    # What its connection calls.

    @property
    def gone(self) -> bool:
        """Whether the socket is closed."""
        return self._gone

    def close(self) -> None:
        """FIN, after what was written."""
        if self._gone or self.transport.is_closing():
            return
        if not self.is_tls:
            _drain(self.transport.get_extra_info("socket"))
        self.transport.close()

    def reset(self) -> None:
        """RST, at once."""
        if self._gone:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


def turn_away(sock: socket.socket, reset: bool) -> None:
    """Close a socket that has no transport, with RST or with FIN."""
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        else:
            _drain(sock)
    sock.close()


def _drain(sock: socket.socket) -> None:
    left = _DRAIN_BYTES_MAX
    with contextlib.suppress(OSError):
        while left > 0 and (read := len(os.read(sock.fileno(), 2**16))):
            left -= read


class Connection:
    """A client and an upstream that are connected through a proxy.

    number: the how manieth of its proxy, from 1; how: it ended, "" while nothing has ended it.
    """

    __slots__ = ("_ended", "_forget", "client", "downstream", "how", "number", "record", "server", "upstream")

    def __init__(
        self, number: int, client: End, server: End, record: Record, forget: Callable[[Connection], None]
    ) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.upstream = Link(UPSTREAM, server, self.reset)
        self.downstream = Link(DOWNSTREAM, client, self.reset)
        self.record = record
        self._forget = forget
        self._ended = 0
        self.how = ""

    def begin(self) -> None:
        """Let data flow."""
        self.client.begin(self, self.upstream)
        self.server.begin(self, self.downstream)

    def link(self, direction: str) -> Link:
        """The link of this direction."""
        return self.upstream if direction == UPSTREAM else self.downstream

    def sent_bytes(self, direction: str) -> int:
        """How much of this direction was passed on: less than came where a toxic drops, holds or cuts."""
        return (self.server if direction == UPSTREAM else self.client).sent_bytes

    def close(self) -> None:
        """FIN to both sides, after what was written to them."""
        self.how = self.how or ("ended by both sides" if self._ended == 3 else "closed here")
        self._leave_shortcuts()
        self.client.close()
        self.server.close()

    def reset(self) -> None:
        """RST to both sides, at once."""
        self.how = self.how or "reset here"
        self._leave_shortcuts()
        self.client.reset()
        self.server.reset()

    def direction_ended(self, end: End) -> None:
        """The direction that leads to this end is over."""
        self._ended |= 1 if end is self.client else 2
        if self._ended == 3:
            self.close()

    def lost(self, end: End, error: Exception | None) -> None:
        """The socket of this end is closed: what it sent still goes on, and then the other side hears of it."""
        if error is not None:
            self.how = self.how or f"reset by the {'client' if end is self.client else 'upstream'}"
        self._leave_shortcuts()
        if self.client.gone and self.server.gone:
            self.upstream.close()
            self.downstream.close()
            self._forget(self)
            return
        assert end.link is not None
        end.link.head.end(RESET if error is not None else CLOSE)

    def _leave_shortcuts(self) -> None:
        # They hold duplicates of the sockets: a close or a reset would wait for those.
        self.upstream.leave_shortcut()
        self.downstream.leave_shortcut()
