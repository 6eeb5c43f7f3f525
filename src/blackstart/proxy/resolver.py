"""A resolver in a sandbox: every name means the sandbox itself, but for those that are known; and it can be broken.

It answers a question for an address with 127.0.0.1, one for an IPv6 address with none, any other with NXDOMAIN; for a
name that is known, with what that means. From a chosen question on it says nothing, says NXDOMAIN or SERVFAIL, is slow,
or names an address that leads nowhere. The form of messages is that of RFC 1035; one question each, as every resolver
library asks.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from blackstart.core.errors import BlackstartError

MUTE, NXDOMAIN, SERVFAIL, SLOW, WRONG = "mute", "nxdomain", "servfail", "slow", "wrong"
HOWS = (MUTE, NXDOMAIN, SERVFAIL, SLOW, WRONG)
SLOW_S = 3.0
_HERE = "127.0.0.1"
# TEST-NET-1 of RFC 5737: nobody has it.
_NOWHERE = "192.0.2.1"
_A, _AAAA, _IN = 1, 28, 1
_ANSWER, _RECURSION_AVAILABLE, _FAILURE, _NO_SUCH_NAME = 0x8000, 0x0080, 2, 3
_TTL_S = 1
_HEAD = struct.Struct(">6H")


class NotAQuestion(BlackstartError):
    """A datagram that is no question of the domain name system."""


def question_of(data: bytes) -> tuple[str, int, int]:
    """(name, type, where the question ends)"""
    if len(data) < _HEAD.size or _HEAD.unpack_from(data)[1] & _ANSWER or _HEAD.unpack_from(data)[2] != 1:
        raise NotAQuestion("no question")
    labels: list[str] = []
    at = _HEAD.size
    while at < len(data) and data[at]:
        length = data[at]
        if length > 63:
            raise NotAQuestion("a compressed name in a question")
        labels.append(data[at + 1 : at + 1 + length].decode("ascii", "backslashreplace"))
        at += 1 + length
    if at + 5 > len(data):
        raise NotAQuestion("a question that is cut off")
    return ".".join(labels), struct.unpack_from(">H", data, at + 1)[0], at + 5


def answer_to(data: bytes, how: str = "", addresses: Sequence[str] = (_HERE,)) -> bytes:
    """The answer to this question; how: which of HOWS breaks it, "" for none; addresses: what the name means."""
    _, kind, end = question_of(data)
    number, flags = _HEAD.unpack_from(data)[:2]
    status = {NXDOMAIN: _NO_SUCH_NAME, SERVFAIL: _FAILURE}.get(how, 0 if kind in (_A, _AAAA) else _NO_SUCH_NAME)
    record = b""
    meant = [_NOWHERE] if how == WRONG else addresses
    found = [one for one in meant if (":" in one) == (kind == _AAAA)]
    if status == 0 and kind in (_A, _AAAA) and found:
        address = socket.inet_pton(socket.AF_INET6 if kind == _AAAA else socket.AF_INET, found[0])
        record = struct.pack(">HHHIH", 0xC000 | _HEAD.size, kind, _IN, _TTL_S, len(address)) + address
    head = _HEAD.pack(number, _ANSWER | (flags & 0x7900) | _RECURSION_AVAILABLE | status, 1, bool(record), 0, 0)
    return head + data[_HEAD.size : end] + record


class Resolver:
    """Answers on any number of sockets. names: what those mean that are known; asked: how many questions; hits: how
    many were answered badly; hit: once one was.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None) -> None:
        self._names = {name.lower(): addresses for name, addresses in (names or {}).items()}
        self.asked = self.hits = 0
        self.hit = asyncio.Event()
        self._how, self._from = "", 0
        self._transports: list[asyncio.DatagramTransport] = []

    async def serve(self, sock: socket.socket) -> None:
        """Answer what comes to this socket, too."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Ear(self), sock=sock)
        self._transports.append(transport)

    def breaks(self, how: str, nth: int) -> None:
        """Break it in this way from the n-th question on, counted from now."""
        self.asked, self.hits, self._how, self._from = 0, 0, how, nth
        self.hit.clear()

    def heal(self) -> None:
        """Answer rightly from now on."""
        self._how = ""

    def close(self) -> None:
        for transport in self._transports:
            transport.close()

    def hear(self, data: bytes, client: Any, transport: asyncio.DatagramTransport) -> None:
        """One datagram."""
        try:
            name, _, _ = question_of(data)
        except NotAQuestion:
            return
        addresses = self._names.get(name.lower(), (_HERE,))
        self.asked += 1
        how = self._how if self.asked >= self._from else ""
        if how:
            self.hits += 1
            self.hit.set()
        if how != MUTE:
            wait_s = SLOW_S if how == SLOW else 0.0
            asyncio.get_running_loop().call_later(wait_s, _send, transport, answer_to(data, how, addresses), client)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._resolver.hear(data, addr, self._transport)


def _send(transport: asyncio.DatagramTransport, data: bytes, client: Any) -> None:
    if not transport.is_closing():
        transport.sendto(data, client)
