"""A peer outside the sandbox that `--allow` named: what its name means on this machine, and whether it is there.

Asked once, before anything is run: in a trial nobody outside is asked for names, and whoever is not there now would
only look like a target that cannot do without it.
"""

from __future__ import annotations

import socket

import msgspec

from blackstart.core.errors import BlackstartError, Undecided

ANSWERS_S = 3.0


class Outside(msgspec.Struct, frozen=True):
    """host, port: as it was named; addresses: where it is. The target reaches it there, through a proxy of ours."""

    host: str
    port: int
    addresses: tuple[str, ...]


def find(named: str) -> Outside:
    """The peer of this `HOST:PORT`; raises where there is none."""
    host, _, digits = named.rpartition(":")
    host, port = host.strip("[]"), int(digits)
    where = f"--allow peer:{named}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BlackstartError(f"{host} has no address: {why}", where=where, next_step="look at the spelling") from None
    # An address with a zone is one of an interface that no sandbox has.
    addresses = tuple(dict.fromkeys(str(place[0]) for *_, place in found if "%" not in str(place[0])))
    try:
        socket.create_connection((host, port), ANSWERS_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise Undecided(f"nobody answers there: {why}", where=where, next_step="start it first") from None
    return Outside(host, port, addresses)
