"""Which operations let bytes out to whoever uses the target."""

from __future__ import annotations

from blackstart.core.trace import Operation

_SENDING = frozenset("write pwrite64 writev pwritev pwritev2 send sendto sendmsg sendmmsg sendfile splice".split())
_ACCEPTING = ("accept", "accept4")
STDOUT, _SOCKET = "stdout", "socket:"


class Answering:
    """Sees the operations of a run in their order, and tells those that let something out.

    What is sent over a socket without a name is an answer only after something was accepted: before that it is a pair
    of sockets, over which the target wakes one of its own threads (event loops do).
    """

    def __init__(self) -> None:
        self._accepts = False

    def lets_out(self, operation: Operation) -> bool:
        """Whether it puts bytes on stdout or into a socket that leads to another."""
        if operation.call in _ACCEPTING:
            self._accepts = True
        if operation.call not in _SENDING:
            return False
        named = operation.path.startswith(_SOCKET) and operation.path != _SOCKET
        return operation.path == STDOUT or named or (operation.path == _SOCKET and self._accepts)
