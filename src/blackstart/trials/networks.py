"""Where the proxies of a company listen, and whom they reach: a companion in its own network, or a peer outside.

They listen in the target's network, at the very address that the target asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Sequence
from ssl import SSLContext
from typing import Any

from blackstart.gate import notify
from blackstart.proxy import AddressError, Record
from blackstart.proxy.address import UDP, UNIX, Address
from blackstart.proxy.connection import End
from blackstart.proxy.dialling import Network
from blackstart.sandbox import Sandbox
from blackstart.trials import names

_BACKLOG = 1024
_STREAM, _DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


class Abroad(Network):
    """Listens in the target's network, and reaches the same address outside the sandbox."""

    def __init__(self, sandbox: Sandbox, address: Address) -> None:
        self._sandbox = sandbox
        self._address = address
        self._takes_both = False
        self._held: socket.socket | None = None

    async def listen(self, wanted: Address) -> socket.socket:
        try:
            if not ipaddress.ip_address(wanted.host).is_loopback:
                names.own(self._sandbox, _family(wanted), wanted.host)
            return self._listen(wanted)
        except OSError as error:
            raise AddressError(f"listen {wanted}: {error.strerror}") from error

    def new_socket(self, family: int) -> socket.socket:
        return self._sandbox.new_socket(family)

    def _listen(self, wanted: Address) -> socket.socket:
        """A listener, and beside it a socket that holds the port while nobody listens there.

        Else the kernel may give a client that port for its own end, and it connects to itself instead of being refused.
        """
        self._held = self._held or self._bound(wanted)
        sock = self._bound(wanted)
        try:
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock

    def _bound(self, wanted: Address) -> socket.socket:
        sock = self._sandbox.new_socket(_family(wanted), _DATAGRAM if wanted.network == UDP else _STREAM)
        try:
            sock.setblocking(False)
            if sock.type == _STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self._takes_both)
            sock.bind((wanted.host, wanted.port))
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Give the port back."""
        if self._held is not None:
            self._held.close()


class Between(Abroad):
    """Listens in the target's network, and reaches the same address in that of its companions.

    takes_both: an IPv6 socket that takes IPv4 as well.
    """

    def __init__(self, sandbox: Sandbox, address: Address, *, takes_both: bool) -> None:
        super().__init__(sandbox, address)
        self._takes_both = takes_both
        self._theirs = self._directory = -1

    async def listen(self, wanted: Address) -> socket.socket:
        try:
            if wanted.network == UDP:
                return self._bound(wanted)
            return self._listen_unix() if wanted.network == UNIX else self._listen(wanted)
        except OSError as error:
            raise AddressError(f"listen {wanted}: {error.strerror}") from error

    def _listen_unix(self) -> socket.socket:
        """Take the name of their socket; theirs is reached through a descriptor from then on.

        A link on the way to it (`/var/run`) means what it means in the sandbox: the host's own socket is not touched.
        """
        place, name = os.path.split(self._address.host)
        if self._directory < 0:
            self._directory = notify.open_inside(self._sandbox.pid1, place, os.O_PATH | os.O_DIRECTORY)
        directory = self._directory
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._theirs < 0:
                self._theirs = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            mode = os.stat(self._theirs)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            short = f"/proc/self/fd/{directory}/{name}"
            sock.bind(short)
            os.chmod(short, mode.st_mode & 0o7777)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Give the descriptors and the port back."""
        super().close()
        for descriptor in (self._theirs, self._directory):
            if descriptor >= 0:
                os.close(descriptor)

    def _place(self) -> tuple[str, int]:
        host = self._address.host
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), self._address.port

    async def reach_datagrams(self, upstream: str) -> dict[str, Any]:
        sock = self._sandbox.new_socket(_family(self._address), _DATAGRAM, apart=True)
        try:
            sock.setblocking(False)
            sock.connect(self._place())
        except OSError:
            sock.close()
            raise
        return {"sock": sock}

    async def reach(self, upstreams: Sequence[str], record: Record, secure: SSLContext | None) -> End:
        record.upstream = str(self._address)
        address: Any = f"/proc/self/fd/{self._theirs}"
        if self._address.network == UNIX:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            sock = self._sandbox.new_socket(_family(self._address), apart=True)
            address = self._place()
        try:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, address)
            return (await loop.create_connection(End, sock=sock))[1]
        except OSError:
            sock.close()
            raise


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET
