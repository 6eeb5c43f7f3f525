"""One toxic on one direction of one connection: its inbox, and what it may do.

    before ──put──▶ [inbox] ──read──▶ toxic.run(pipe) ──write──▶ next (another pipe, or the socket)

A toxic is one coroutine that reads, waits and writes. Removing a toxic *interrupts* its pipe: every wait ends at once,
`read` gives nothing more, the coroutine writes what it has in hand and returns, and what is left in the inbox goes on
untouched. So nothing is lost and nothing overtakes. A toxic that returns before the end of its input without an
interruption has closed the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from blackstart.core.clock import SYSTEM
from blackstart.core.randomness import Source

ROOM_BYTES, CHUNKS_MAX = 2**18, 1024
# How a direction ends: the sender will send no more; both sides are to be closed; both are to be reset.
FIN, CLOSE, RESET = "fin", "close", "reset"


class Receiver(Protocol):
    """What takes a stream: the inbox of a pipe, or the socket at the end of a link.

    put: take these bytes now, always; end: no more will come, and how it ended (FIN, CLOSE or RESET);
    is_full: whoever can wait should; when_room: call this once it is no longer full.
    """

    @property
    def is_full(self) -> bool: ...
    def put(self, data: bytes) -> None: ...
    def end(self, how: str) -> None: ...
    def when_room(self, callback: Callable[[], None]) -> None: ...


class Pipe:
    """What a toxic sees of the world.

    shared: a dictionary that all pipes of this toxic have in common; passed_bytes: how much it has written, kept when
    its attributes change; hits: how often it acted; ended: how its input ended, empty while it has not;
    closed: whether the toxic has closed the connection; kept: what it has read and will pass on later: when it is
    removed this goes on first, when it is changed it stays.
    """

    __slots__ = (
        "_in_bytes", "_inbox", "_interrupted", "_loop", "_make_random", "_random", "_reset", "_room", "_waiter",
        "closed", "ended", "hits", "kept", "next", "passed_bytes", "room_bytes", "shared",
    )  # fmt: skip

    def __init__(
        self, next_: Receiver, reset: Callable[[], None], random: Callable[[], Source], shared: dict[str, Any]
    ) -> None:
        self.next = next_
        self._reset = reset
        self._make_random = random
        self._random: Source | None = None
        self.shared = shared
        self.room_bytes = ROOM_BYTES
        self.passed_bytes = 0
        self.hits = 0
        self.ended = ""
        self.closed = False
        self.kept = bytearray()
        self._inbox: deque[tuple[float, bytes]] = deque()
        self._in_bytes = 0
        self._interrupted = False
        self._waiter: asyncio.Future[None] | None = None
        # A set: one that waits twice is called once.
        self._room: set[Callable[[], None]] = set()
        self._loop = asyncio.get_running_loop()

    # The side of whoever sends.

    @property
    def is_full(self) -> bool:
        return self._in_bytes >= self.room_bytes or len(self._inbox) >= CHUNKS_MAX

    def put(self, data: bytes) -> None:
        self._inbox.append((SYSTEM.monotonic(), data))
        self._in_bytes += len(data)
        self._wake()

    def end(self, how: str) -> None:
        self.ended = self.ended or how
        self._wake()

    def when_room(self, callback: Callable[[], None]) -> None:
        self._room.add(callback)

    # The side of the toxic.

    @property
    def random(self) -> Source:
        """This toxic's own seeded source on this direction of this connection."""
        # Made when asked for: most toxics draw nothing, and a source has 2.5 kB.
        if self._random is None:
            self._random = self._make_random()
        return self._random

    async def read(self, within_s: float | None = None) -> bytes:
        """The next bytes; empty at the end of the input and when interrupted. TimeoutError after `within_s` seconds."""
        return (await self.read_stamped(within_s))[1]

    async def read_stamped(self, within_s: float | None = None) -> tuple[float, bytes]:
        """As `read`, with the monotonic time at which the bytes came in."""
        due = None if within_s is None else SYSTEM.monotonic() + within_s
        while not self._interrupted:
            if self._inbox:
                return self._take()
            if self.ended:
                break
            if due is not None and SYSTEM.monotonic() >= due:
                raise TimeoutError
            await self._doze(due)
        return 0.0, b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def write(self, data: bytes) -> None:
        """Pass bytes on, and wait while what comes next is full."""
        self.next.put(data)
        self.passed_bytes += len(data)
        while self.next.is_full and not self._interrupted:
            self.next.when_room(self._wake)
            await self._doze(None)

    async def wait(self, seconds: float) -> bool:
        """Wait so long; False, at once, when interrupted."""
        return await self.wait_until(SYSTEM.monotonic() + seconds)

    async def wait_until(self, due: float) -> bool:
        """Wait until this monotonic time; False, at once, when interrupted."""
        # A loop's own timer may fire a little early, and new input wakes too.
        while not self._interrupted and SYSTEM.monotonic() < due:
            await self._doze(due)
        return not self._interrupted

    async def interruption(self) -> None:
        """Wait until the toxic is removed or changed."""
        while not self._interrupted:
            await self._doze(None)

    def act(self) -> None:
        """Note that the toxic did something to the stream."""
        self.hits += 1

    def close(self) -> None:
        """Close the connection, with FIN to both sides, once what was written has gone out."""
        self.closed = True
        self.next.end(CLOSE)

    def reset(self) -> None:
        """Reset the connection now, with RST to both sides."""
        self._reset()

    # The side of the link.

    @property
    def interrupted(self) -> bool:
        """Whether the toxic is to let go."""
        return self._interrupted

    def interrupt(self) -> None:
        """End every wait of the toxic."""
        self._interrupted = True
        self._wake()

    def renew(self) -> None:
        """Let a toxic with new attributes take over."""
        self._interrupted = False

    def hand_over(self) -> None:
        """Give all that is left to the next: the pipe is out of the chain."""
        if self.kept:
            self.next.put(bytes(self.kept))
            self.kept.clear()
        while self._inbox:
            self.next.put(self._take()[1])
        if self.ended and not self.closed:
            self.next.end(self.ended)

    def _take(self) -> tuple[float, bytes]:
        stamped = self._inbox.popleft()
        self._in_bytes -= len(stamped[1])
        if self._room and not self.is_full:
            waiting, self._room = self._room, set()
            for callback in waiting:
                callback()
        return stamped

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _doze(self, due: float | None) -> None:
        """Sleep until woken, or until due."""
        self._waiter = self._loop.create_future()
        timer = None if due is None else self._loop.call_later(max(due - SYSTEM.monotonic(), 0), self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
