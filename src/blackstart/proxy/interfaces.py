"""What a toxic can be. Each is a frozen value of its attributes; what it does is one method, and one is enough.

| method | where | what |
|---|---|---|
| `run(pipe)` | a direction of a stream | reads, waits, writes |
| `admit(visit)` | a new connection | before the upstream is dialled; false turns it away |
| `deliver(datagram, flow)` | a direction of datagrams | what arrives instead, and after how many seconds |

A toxic with `door` acts on the listener instead: "closed" (connections are refused) or "silent" (they hang).
Optional: `removed(pipe)` after the toxic was taken out; `room_bytes`, how much may wait in its inbox; `wrong()`, which
of its values would run as another one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, runtime_checkable

from blackstart.core.randomness import Source
from blackstart.proxy.pipe import Pipe


class Fault(Protocol):
    """A toxic's attributes: a frozen msgspec.Struct, with the name that it has in the API."""

    type: ClassVar[str]


@runtime_checkable
class StreamToxic(Protocol):
    """Acts on a direction of a stream until it is interrupted or its input ends."""

    async def run(self, pipe: Pipe) -> None: ...


@runtime_checkable
class Cleaning(Protocol):
    """Has something to do after it was taken out of a connection."""

    def removed(self, pipe: Pipe) -> None: ...


@runtime_checkable
class Checking(Protocol):
    """Knows which values of its attributes would run as other ones."""

    def wrong(self) -> str:
        """A sentence about the first such value; empty if there is none."""
        ...


def outside(low: int, high: int, **values: float) -> str:
    """A sentence about the first of these values that is not from low to high."""
    for name, value in values.items():
        if not low <= value <= high:
            return f"{name} is a number from {low} to {high}, not {value}"
    return ""


class Visit:
    """A connection that has come and is not yet served. reset: turn it away with RST instead of FIN."""

    def __init__(self) -> None:
        self.reset = False
        self._toxic: object = None
        self._gone = asyncio.Event()

    def begin(self, toxic: object) -> Visit:
        """It is this toxic's turn to decide."""
        self._toxic = toxic
        self._gone.clear()
        return self

    def let_go(self, toxic: object) -> None:
        """This toxic was removed: if the connection waits for it, it waits no longer."""
        if self._toxic is toxic:
            self._gone.set()

    async def wait(self, seconds: float) -> None:
        """Let it wait so long, or until the toxic is removed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), max(seconds, 0))


@runtime_checkable
class DoorToxic(Protocol):
    """Decides whether a connection is served, and when."""

    async def admit(self, visit: Visit) -> bool: ...


class Flow:
    """One direction of the datagrams of one client.

    memory: the toxic's own, kept from one datagram to the next; count: how many came.
    """

    def __init__(self, random: Source) -> None:
        self.random = random
        self.count = 0
        self.memory: dict[str, Any] = {}


@runtime_checkable
class DatagramToxic(Protocol):
    """Says what arrives instead of a datagram: (seconds from now, bytes), none or several."""

    def deliver(self, datagram: bytes, flow: Flow) -> Iterable[tuple[float, bytes]]: ...
