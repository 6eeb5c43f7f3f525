"""Bulk data from socket to socket inside the kernel, where no toxic needs to see the bytes.

Used only while whole buffers come in a row on a direction without toxics: for small messages two more system calls cost
more than the copy. Each use takes four descriptors, so that only so many run at once as the limit leaves room for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
from typing import TYPE_CHECKING

from blackstart.proxy.link import Link

if TYPE_CHECKING:
    from blackstart.proxy.connection import End

# A read of this size is a full buffer of a loop's transport.
BULK_BYTES = 2**16
_PIPE_BYTES, _ONCE_BYTES = 2**19, 2**20
_SHARE_OF_DESCRIPTORS = 16
# Reads in a row that found little: the transfer is over.
_SMALL_READS_MAX = 8


class Splice:
    """A direction that is spliced now. It owns two pipes' ends and a duplicate of each socket until `stop`."""

    _running = 0

    @classmethod
    def start(cls, source: End, link: Link) -> Splice | None:
        """Splice what this end reads to the other end; None where that is not possible now."""
        sink = link.sink
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE_OF_DESCRIPTORS
        # What the transport still has to write must come first.
        if not hasattr(os, "splice") or source.is_tls or 4 * cls._running >= room:
            return None
        if getattr(sink, "is_tls", True) or sink.transport.get_write_buffer_size():  # type: ignore[attr-defined]
            return None
        try:
            return cls(source, sink, link)  # type: ignore[arg-type]
        except OSError:
            return None

    def __init__(self, source: End, sink: End, link: Link) -> None:
        self._source, self._sink, self._link = source, sink, link
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._small = 0
        self._fds: list[int] = []
        self._is_open = True
        try:
            for end in (source, sink):
                self._fds.append(os.dup(end.transport.get_extra_info("socket").fileno()))
            self._fds += os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fds[3], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            self._close()
            raise
        self._in, self._out, self._read, self._write = self._fds
        Splice._running += 1
        source.transport.pause_reading()
        self._loop.add_reader(self._in, self._pump)

    def stop(self) -> None:
        """Give the direction back; what is in the pipe goes through the link, as if it came now."""
        if not self._is_open:
            return
        self._is_open = False
        Splice._running -= 1
        self._loop.remove_reader(self._in)
        self._loop.remove_writer(self._out)
        self._link.shortcut = None
        while self._held:
            data = os.read(self._read, self._held)
            self._held -= len(data)
            self._link.head.put(data)
        self._close()
        self._source.resume()

    def _close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def _pump(self) -> None:
        """Fill the pipe from the source, empty it into the sink; without room there wait for the sink instead."""
        try:
            if not self._held and not self._fill():
                return
            while self._held:
                written = os.splice(self._read, self._out, self._held, flags=os.SPLICE_F_NONBLOCK)
                self._held -= written
                self._sink.sent_bytes += written
        except BlockingIOError:
            self._loop.remove_reader(self._in)
            self._loop.add_writer(self._out, self._go_on)
        except OSError:
            # Either side is gone; the transports find out which and how.
            self.stop()

    def _fill(self) -> bool:
        try:
            read = os.splice(self._in, self._write, _ONCE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return False
        self._held = read
        self._link.bytes += read
        self._small = self._small + 1 if read < BULK_BYTES // 4 else 0
        if not read or self._small > _SMALL_READS_MAX:
            self.stop()
        return self._is_open

    def _go_on(self) -> None:
        self._loop.remove_writer(self._out)
        self._loop.add_reader(self._in, self._pump)
        self._pump()
