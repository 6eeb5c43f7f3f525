"""Where a proxy listens and where it sends: `127.0.0.1:80`, `[::1]:80`, `:80`, `udp:127.0.0.1:53`, `unix:/run/x.sock`.

The wording of a wrong address is that of Go's net package, because clients of the HTTP API compare it.
"""

from __future__ import annotations

import socket

import msgspec

from blackstart.core.errors import BlackstartError

TCP, UDP, UNIX = "tcp", "udp", "unix"


class AddressError(BlackstartError):
    """An address that cannot be read, or that cannot be listened on."""


class Address(msgspec.Struct, frozen=True):
    """network: tcp, udp or unix; host: a name, an IP address, "" for every address, or the path of a unix socket."""

    network: str
    host: str
    port: int = 0

    @property
    def bare(self) -> str:
        """Without the network."""
        if self.network == UNIX:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.bare if self.network == TCP else f"{self.network}:{self.bare}"


def network_of(text: str) -> str:
    """The network that an address means, right or wrong."""
    return next((network for network in (UDP, UNIX) if text.startswith(f"{network}:")), TCP)


def parse(text: str) -> Address:
    """The address in `text`; AddressError in Go's words if there is none."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path or len(path.encode(errors="surrogateescape")) > 107:
            raise AddressError(f"address {text}: a unix socket needs a path of at most 107 bytes")
        return Address(UNIX, path)
    network, rest = (UDP, text.removeprefix("udp:")) if text.startswith("udp:") else (TCP, text)
    host, port = _split(rest)
    try:
        host.encode("idna")  # as every look-up does, which would fail in the midst of a connection
    except UnicodeError:
        raise AddressError(f"lookup {host}: no such host") from None
    return Address(network, host, _port(port, rest))


def _split(text: str) -> tuple[str, str]:
    if not text:
        return "", "0"
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        if not host.endswith("]"):
            raise AddressError(f"address {text}: missing port in address")
        return host[1:-1], port
    if not colon:
        raise AddressError(f"address {text}: missing port in address")
    if ":" in host:
        raise AddressError(f"address {text}: too many colons in address")
    return host, port


def _port(port: str, text: str) -> int:
    if port == "":
        return 0
    if port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535:
        return int(port)
    if port.isascii() and port.isdigit():
        raise AddressError(f"address {port}: invalid port")
    try:
        return socket.getservbyname(port)
    except (OSError, ValueError):
        raise AddressError(f"lookup {text}: unknown port") from None


def of_socket(sock: socket.socket, network: str) -> Address:
    """The address that a socket is bound to."""
    name = sock.getsockname()
    if network == UNIX:
        return Address(UNIX, name)
    return Address(network, name[0], name[1])


def peer_text(name: object) -> str:
    """What a peer's address is called in records: `127.0.0.1:4711`, or the path of a unix socket."""
    if isinstance(name, tuple):
        return str(Address(TCP, str(name[0]), int(name[1])))
    return f"unix:{name}" if name else "unix:"
