"""Where sockets are made; reaching an upstream: the first that answers, begun with another one for each connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ssl import SSLContext
from typing import Any

from blackstart.core.errors import BlackstartError
from blackstart.proxy import address, listener
from blackstart.proxy.connection import End
from blackstart.proxy.record import Record


class Network:
    """Where a proxy's sockets are made: here. A proxy between two other networks is given another one."""

    async def listen(self, wanted: address.Address) -> socket.socket:
        """A bound socket, which listens if it is one of a stream; AddressError where that is not possible."""
        return await listener.bind(wanted)

    def new_socket(self, family: int) -> socket.socket:
        """A socket of a stream in the network in which the proxy listens."""
        return socket.socket(family, socket.SOCK_STREAM)

    async def reach(self, upstreams: Sequence[str], record: Record, secure: SSLContext | None) -> End:
        """The socket of an upstream, noted in the record; OSError or AddressError if none answers."""
        return await dial(upstreams, record, secure)

    async def reach_datagrams(self, upstream: str) -> dict[str, Any]:
        """What `create_datagram_endpoint` is to be given to reach it; OSError or AddressError where that cannot be."""
        wanted = address.parse(upstream)
        return {"remote_addr": (wanted.host or "localhost", wanted.port)}


async def dial(upstreams: Sequence[str], record: Record, secure: SSLContext | None) -> End:
    """The socket of an upstream, noted in the record; OSError or AddressError of the last one if none answers."""
    failure: Exception = OSError("there is no upstream")
    for turn in range(len(upstreams)):
        record.upstream = upstreams[(record.number - 1 + turn) % len(upstreams)]
        try:
            return await _reach(address.parse(record.upstream), secure)
        except (OSError, BlackstartError) as error:
            failure = error
    raise failure


async def _reach(wanted: address.Address, secure: SSLContext | None) -> End:
    def make() -> End:
        return End(secure is not None)

    loop = asyncio.get_running_loop()
    if wanted.network == address.UNIX:
        name = "localhost" if secure else None
        return (await loop.create_unix_connection(make, wanted.host, ssl=secure, server_hostname=name))[1]
    return (await loop.create_connection(make, wanted.host or "localhost", wanted.port, ssl=secure))[1]
