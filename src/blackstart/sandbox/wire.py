"""Messages between the processes of the sandbox: a length, JSON, and descriptors that travel with the first byte.

JSON because both sides then only ever see plain values; paths and arguments are text with surrogate escapes, so any
bytes survive. Descriptors received are never inherited by a program that is started later.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
_LENGTH = struct.Struct("=I")
DESCRIPTORS_MAX = 64


class Closed(Exception):
    """The other side is gone."""


class Late(Exception):
    """The other side did not answer in time."""


def text(value: bytes | str) -> str:
    """A path or argument as it travels."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def raw(value: str) -> bytes:
    """A travelled path or argument as bytes again."""
    return value.encode("utf-8", "surrogateescape")


def send(channel: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message whole."""
    body = json.dumps(message).encode("ascii")
    data = _LENGTH.pack(len(body)) + body
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        sent = channel.sendmsg([data], ancillary)
        if sent < len(data):
            channel.sendall(data[sent:])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def receive(channel: socket.socket, deadline_s: float | None = None) -> tuple[Message, list[int]]:
    """Receive one message; `deadline_s` is a number of seconds for all of it."""
    end = None if deadline_s is None else time.monotonic() + deadline_s
    descriptors: list[int] = []
    try:
        head = _exactly(channel, _LENGTH.size, end, descriptors)
        body = _exactly(channel, _LENGTH.unpack(head)[0], end, descriptors)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return json.loads(body), descriptors


def _exactly(channel: socket.socket, count: int, end: float | None, descriptors: list[int]) -> bytes:
    parts = []
    while count:
        if end is not None and not _wait(channel, end - time.monotonic()):
            raise Late
        try:
            data, ancillary, _, _ = channel.recvmsg(
                min(count, 1 << 20), socket.CMSG_SPACE(4 * DESCRIPTORS_MAX), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError as error:
            raise Closed from error
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.extend(array.array("i", payload[: len(payload) - len(payload) % 4]))
        if not data:
            raise Closed
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


def _wait(channel: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))
