"""An HTTP server answers with another status, other headers, half a body, or slowly."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import ClassVar

import msgspec

from blackstart.proxy.framing import NotThisProtocol, messages
from blackstart.proxy.interfaces import outside
from blackstart.proxy.pipe import Pipe

# What is larger is not held in memory: the rest of the connection passes untouched.
_HEAD_BYTES_MAX, _CHUNK_BYTES_MAX = 2**18, 2**24
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([0-9]{3})")
# How a body ends (RFC 9112, 6.3): after so many bytes, with its last chunk, or with the connection.
_CHUNKED, _UNTIL_CLOSE = -1, -2


class Http(msgspec.Struct, frozen=True):
    """Change each answer (HTTP/1).

    status: another status, 0 for none; headers: lines `Name: value` that replace those of the same name; body: after so
    many bytes of it the connection is closed, -1 for never; body_delay: ms before each piece of a body.
    """

    type: ClassVar[str] = "http"
    status: int = 0
    headers: str = ""
    body: int = -1
    body_delay: int = 0

    def wrong(self) -> str:
        return outside(100, 599, status=self.status) if self.status else ""

    async def run(self, pipe: Pipe) -> None:
        reader = Answers()
        async for piece in messages(pipe, reader.measure):
            if reader.take(piece):
                changed = self._head(piece)
                pipe.hits += changed != piece
                await pipe.write(changed)
                continue
            if self.body_delay > 0:
                pipe.act()
                await pipe.wait(self.body_delay / 1000)
            left = len(piece) if self.body < 0 else self.body - reader.body_bytes + len(piece)
            if left < len(piece):
                pipe.act()
                await pipe.write(piece[: max(left, 0)])
                pipe.close()
                return
            await pipe.write(piece)

    def _head(self, head: bytes) -> bytes:
        lines = head[:-4].split(b"\r\n")
        if self.status:
            known = {one.value: one.phrase for one in HTTPStatus}
            version = lines[0].split(b" ")[0]
            lines[0] = version + f" {self.status} {known.get(self.status, 'Changed')}".encode()
        for header in self.headers.splitlines():
            raw = header.encode("latin-1", "replace")
            name = raw.partition(b":")[0].strip().lower() + b":"
            lines = [lines[0], *(line for line in lines[1:] if not line.lower().startswith(name)), raw]
        return b"\r\n".join(lines) + b"\r\n\r\n"


class Answers:
    """Where the heads and bodies of a connection's answers begin and end. body_bytes: of this answer's body so far."""

    def __init__(self) -> None:
        self.body_bytes = 0
        self._left = 0

    def measure(self, buffer: bytearray) -> int:
        """The length of the next head, or of a piece of a body."""
        if not buffer:
            return 0
        if self._left == _CHUNKED:
            return _chunk_bytes(buffer)
        if self._left:
            return len(buffer) if self._left == _UNTIL_CLOSE else min(len(buffer), self._left)
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > _HEAD_BYTES_MAX or not b"HTTP/1.".startswith(bytes(buffer[:7])):
                raise NotThisProtocol
            return 0
        if not _STATUS_LINE.match(buffer):
            raise NotThisProtocol
        return end + 4

    def take(self, piece: bytes) -> bool:
        """Note that this piece is passed on; whether it is a head."""
        if not self._left:
            self._left, self.body_bytes = _body(piece), 0
            return True
        self.body_bytes += len(piece)
        if self._left > 0:
            self._left -= len(piece)
        elif self._left == _CHUNKED and re.match(rb"0+[\r;]", piece):
            self._left = 0
        return False


def _body(head: bytes) -> int:
    """How the body after this head ends."""
    found = _STATUS_LINE.match(head)
    assert found is not None, head
    status = int(found[2])
    if status < 200 or status in (204, 304):
        return 0
    lower = head.lower()
    if re.search(rb"\r\ntransfer-encoding:[^\r]*chunked", lower):
        return _CHUNKED
    length = re.search(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})", lower)
    return int(length[1]) if length else _UNTIL_CLOSE


def _chunk_bytes(buffer: bytearray) -> int:
    """The length of a chunk with its frame; of the last one with the trailer."""
    line_end = buffer.find(b"\r\n")
    if line_end < 0:
        return 0
    size = re.match(rb"[0-9a-fA-F]{1,15}", buffer[:line_end])
    if not size or int(size[0], 16) > _CHUNK_BYTES_MAX:
        raise NotThisProtocol
    if int(size[0], 16):
        return line_end + 2 + int(size[0], 16) + 2
    end = buffer.find(b"\r\n\r\n", line_end)
    return end + 4 if end >= 0 else 0
