"""One direction of one connection: from a socket through the toxics that hit it to the other socket.

    source ──▶ [stage] ──▶ [stage] ──▶ sink

With no stage the source writes straight to the sink. Stages come and go while data flow: a stage that is taken out is
interrupted, gives what it holds to the next, and only then is bypassed, without a step in which other code could run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from blackstart.core.randomness import Source
from blackstart.proxy.interfaces import Cleaning, StreamToxic
from blackstart.proxy.pipe import Pipe, Receiver
from blackstart.proxy.toxic import Toxic
from blackstart.proxy.toxics.noop import Noop

# How long a toxic may take to let go. Ours need no time; one from elsewhere is cancelled after it.
LET_GO_S = 1.0

log = logging.getLogger("blackstart.proxy")


class Stage:
    """A toxic at work on a link."""

    __slots__ = ("pipe", "task", "toxic")

    def __init__(self, toxic: Toxic, pipe: Pipe) -> None:
        self.toxic = toxic
        self.pipe = pipe
        self.start()

    def start(self) -> None:
        """Let the toxic, as it is described now, take over."""
        self.pipe.renew()
        self.task = asyncio.get_running_loop().create_task(self._work(self.toxic.fault))

    async def _work(self, fault: object) -> None:
        assert isinstance(fault, StreamToxic), fault
        try:
            await fault.run(self.pipe)
        except Exception:
            # A toxic's own bug must not look like a fault of the network.
            log.exception("toxic %s broke; it passes everything on from here", self.toxic.name)
            await Noop().run(self.pipe)
        if self.pipe.interrupted or self.pipe.closed:
            return
        if self.pipe.ended:
            self.pipe.next.end(self.pipe.ended)
        else:
            self.pipe.close()

    async def stop(self) -> None:
        """Make the toxic let go of what it holds; what it had not read stays in the pipe."""
        self.pipe.interrupt()
        _, busy = await asyncio.wait({self.task}, timeout=LET_GO_S)
        if busy:
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=LET_GO_S)


class Shortcut(Protocol):
    """A way of the bytes past the link, to be left before anything changes."""

    def stop(self) -> None: ...


class Link:
    """head: what the source writes to; bytes: how many came from the source; shortcut: a splice, while there is one."""

    __slots__ = ("_reset", "bytes", "head", "shortcut", "sink", "stages", "stream")

    def __init__(self, stream: str, sink: Receiver, reset: Callable[[], None]) -> None:
        self.stream = stream
        self.sink = sink
        self._reset = reset
        self.head: Receiver = sink
        self.stages: list[Stage] = []
        self.bytes = 0
        self.shortcut: Shortcut | None = None

    def add(self, toxic: Toxic, at: int, random: Callable[[], Source]) -> Stage:
        """Put a toxic in the chain, before the stage that stands at this place now."""
        self.leave_shortcut()
        following = self.stages[at].pipe if at < len(self.stages) else self.sink
        pipe = Pipe(following, self._reset, random, toxic.shared)
        pipe.room_bytes = getattr(toxic.fault, "room_bytes", pipe.room_bytes)
        stage = Stage(toxic, pipe)
        self.stages.insert(at, stage)
        self._join(at)
        return stage

    async def remove(self, stage: Stage) -> None:
        """Take a toxic out of the chain; nothing is lost and nothing overtakes."""
        await stage.stop()
        if stage not in self.stages:
            return
        if isinstance(stage.toxic.fault, Cleaning):
            stage.toxic.fault.removed(stage.pipe)
        at = self.stages.index(stage)
        self.stages.remove(stage)
        stage.pipe.hand_over()
        self._join(at)

    def _join(self, at: int) -> None:
        """Connect what stands before this place with what stands at it."""
        following = self.stages[at].pipe if at < len(self.stages) else self.sink
        if at:
            self.stages[at - 1].pipe.next = following
        else:
            self.head = following

    def leave_shortcut(self) -> None:
        """Let all bytes pass the link again."""
        if self.shortcut is not None:
            self.shortcut.stop()

    def close(self) -> None:
        """End the toxics' work: the connection is over."""
        for stage in self.stages:
            stage.task.cancel()
