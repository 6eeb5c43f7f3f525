"""Where the target asks for names, and a socket there: the addresses of its resolv.conf are made the sandbox's own."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct

from blackstart.gate import notify
from blackstart.sandbox import Sandbox

PORT = 53
# What libraries ask where the file names nobody: resolv.conf(5).
_USUAL = ("127.0.0.1",)
_SERVERS_MAX = 3
_FILE_BYTES_MAX = 1 << 16
# Of linux/rtnetlink.h: add an address to an interface, and have that acknowledged.
_NEW_ADDRESS, _REQUEST, _ACKNOWLEDGE, _CREATE = 20, 1, 4, 0x400
_LOCAL, _ADDRESS, _LOOPBACK, _HOST_SCOPE = 2, 1, 1, 254


def servers(pid1: int) -> tuple[str, ...]:
    """The addresses that the resolv.conf of this sandbox names."""
    try:
        with os.fdopen(notify.open_inside(pid1, "/etc/resolv.conf", os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        text = ""
    words = (line.split() for line in text.splitlines())
    named = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    found = []
    for address in named[:_SERVERS_MAX]:
        with contextlib.suppress(ValueError):
            found.append(str(ipaddress.ip_address(address)))
    return tuple(dict.fromkeys(found)) or _USUAL


def ear(sandbox: Sandbox, host: str) -> socket.socket:
    """A socket for questions at this address of the sandbox's network; OSError where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not ipaddress.ip_address(host).is_loopback:
        own(sandbox, family, host)
    sock = sandbox.new_socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, PORT))
    except OSError:
        sock.close()
        raise
    return sock


def own(sandbox: Sandbox, family: int, host: str) -> None:
    """Make this address one of the sandbox itself."""
    raw = socket.inet_pton(family, host)
    attributes = b"".join(struct.pack("=HH", 4 + len(raw), kind) + raw for kind in (_LOCAL, _ADDRESS))
    body = struct.pack("=BBBBI", family, len(raw) * 8, 0, _HOST_SCOPE, _LOOPBACK) + attributes
    flags = _REQUEST | _ACKNOWLEDGE | _CREATE
    with sandbox.new_socket(socket.AF_NETLINK, socket.SOCK_RAW) as channel:
        channel.send(struct.pack("=IHHII", 16 + len(body), _NEW_ADDRESS, flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", channel.recv(4096), 16)
    if error not in (0, -errno.EEXIST):
        raise OSError(-error, os.strerror(-error))
