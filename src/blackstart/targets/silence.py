"""Do the users of a service get anything from it, be it the end of their connection?

Whoever waits in vain gives up in the end, and may call that refused. It was not where the service listened and let
out nothing: neither a byte to anybody, peers included, nor a connection, which it may end to refuse. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from blackstart.core.trace import SOCKET, Operation

_FROM_FILES = frozenset("sendfile splice".split())
_GIVING = frozenset("write writev sendto sendmsg sendmmsg connect shutdown close close_range".split())


def is_silent(trace: Iterable[Operation]) -> bool:
    """Whether nothing of this went to a socket."""
    return not any(one.call in _FROM_FILES or (one.kind == SOCKET and one.call in _GIVING) for one in trace)
