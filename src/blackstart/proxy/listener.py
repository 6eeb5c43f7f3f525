"""The listening socket of a proxy: open, closed (connections are refused) or silent (they hang).

Silent is done as Linux does it under load: a queue of length nought that is full leaves a SYN without an answer. The
listener fills its own queue, and throws those connections away when it opens again. The kernel counts what a full queue
drops, so that it is known whether anybody met the silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable

from blackstart.proxy import address
from blackstart.proxy.address import Address, AddressError

BACKLOG = 4096
_ACCEPTS_AT_ONCE = 64
_FILLERS = 4
# Linux: nine counters of a socket, the last of which is what it has dropped (include/uapi/linux/sock_diag.h).
_SO_MEMINFO, _COUNTERS = 55, struct.Struct("9I")
OPEN, CLOSED, SILENT = "open", "closed", "silent"

log = logging.getLogger("blackstart.proxy")


async def bind(wanted: Address) -> socket.socket:
    """A listening socket at this address; AddressError in Go's words where that is not possible."""
    if wanted.network == address.UNIX:
        return _bind_unix(wanted)
    kind = socket.SOCK_DGRAM if wanted.network == address.UDP else socket.SOCK_STREAM
    try:
        family, host = await resolve(wanted.host, wanted.port, kind)
    except OSError as error:
        raise AddressError(f"listen {wanted.network}: lookup {wanted.host}: no such host") from error
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, wanted.host != "")
        sock.bind((host, wanted.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise AddressError(f"listen {wanted.network} {wanted.bare}: bind: {_words(error)}") from error
    return sock


async def resolve(host: str, port: int, kind: int) -> tuple[socket.AddressFamily, str]:
    """The family and the address to bind for this host: of IPv4 where it has one, every address for no host."""
    if not host:
        return (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return found[0][0], str(found[0][4][0])


async def resolved(listen: str, current: str) -> str:
    """The bound form of an address that a client gives, to be compared with the one that is bound."""
    if listen == current:
        return current
    wanted = address.parse(listen)
    if wanted.network == address.UNIX:
        return listen
    try:
        _, host = await resolve(wanted.host, wanted.port, socket.SOCK_STREAM)
    except OSError:
        return listen
    return str(Address(wanted.network, host, wanted.port))


def _bind_unix(wanted: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        # A socket that nobody listens at any more is in the way of every server; a file is somebody's.
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(wanted.host).st_mode) and not _answers(wanted.host):
                os.unlink(wanted.host)
        sock.bind(wanted.host)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise AddressError(f"listen {wanted.network} {wanted.bare}: bind: {_words(error)}") from error
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex(path) != errno.ECONNREFUSED


def _words(error: OSError) -> str:
    # Go writes an errno in lower case, and this one without "Cannot".
    if error.errno == errno.EADDRNOTAVAIL:
        return "cannot assign requested address"
    return (error.strerror or str(error)).lower()


class Listener:
    """Accepts connections at an address and gives each socket to `welcome`.

    new_socket: makes one of a family in the network in which it listens; refused: for how many there was no descriptor
    left.
    """

    def __init__(
        self,
        sock: socket.socket,
        network: str,
        welcome: Callable[[socket.socket, str], None],
        new_socket: Callable[[int], socket.socket] = socket.socket,
    ) -> None:
        self.address = address.of_socket(sock, network)
        self.refused = 0
        self._sock = sock
        self._welcome = welcome
        self._new_socket = new_socket
        self._dropped_before = 0
        self._loop = asyncio.get_running_loop()
        self._fillers: list[socket.socket] = []
        self._filled_from: set[object] = set()
        # Given up for a moment when there are no descriptors left, to turn a connection away.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._sock.close()
        os.close(self._spare)
        for filler in self._fillers:
            filler.close()
        if self.address.network == address.UNIX:
            with contextlib.suppress(OSError):
                os.unlink(self.address.host)

    def fall_silent(self) -> None:
        """Let new connections hang."""
        if self._fillers or self.address.network != address.TCP:
            return
        self._loop.remove_reader(self._sock)
        self._sock.listen(0)
        for _ in range(_FILLERS):
            filler = self._new_socket(self._sock.family)
            filler.setblocking(False)
            filler.connect_ex(self._sock.getsockname())
            self._fillers.append(filler)
            self._filled_from.add(filler.getsockname()[:2])
        self._dropped_before = _dropped(self._sock)

    def unanswered(self) -> int:
        """How many SYN had no answer since it fell silent, those that were sent again included."""
        return _dropped(self._sock) - self._dropped_before if self._fillers and self._sock.fileno() >= 0 else 0

    def speak(self) -> None:
        """Answer again; those that still wait are served."""
        if not self._fillers:
            return
        self._sock.listen(BACKLOG)
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, name = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._turn_away(error)
                return
            if isinstance(name, tuple) and name[:2] in self._filled_from:
                self._filled_from.discard(name[:2])
                sock.close()
                continue
            sock.setblocking(False)
            self._welcome(sock, address.peer_text(name))

    def _turn_away(self, error: OSError) -> None:
        """No descriptor is left for this connection: say so to it, and leave the others alone."""
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            log.error("accept at %s: %s", self.address, error)
            return
        os.close(self._spare)
        try:
            with contextlib.suppress(OSError):
                sock, _ = self._sock.accept()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                self.refused += 1
                if self.refused == 1:
                    log.error("no descriptors left at %s: new connections are reset", self.address)
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _dropped(listening: socket.socket) -> int:
    """How much this socket has dropped, as the kernel counts it; 0 where it does not."""
    try:
        return int(_COUNTERS.unpack(listening.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _COUNTERS.size))[-1])
    except (OSError, struct.error):
        return 0
