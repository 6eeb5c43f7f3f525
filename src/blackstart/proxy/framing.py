"""What a toxic needs to know of a protocol: where a message ends.

A protocol is one function, `measure`: the length of the message that a buffer begins with, 0 while that cannot be
said, NotThisProtocol if it begins with something else. The rest of such a connection passes untouched: so a toxic that
is added in the middle of a message harms nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from blackstart.proxy.pipe import Pipe

Measure = Callable[[bytearray], int]


class NotThisProtocol(Exception):
    """The bytes are no message of the protocol."""


async def messages(pipe: Pipe, measure: Measure) -> AsyncIterator[bytes]:
    """Whole messages, one by one; whoever takes one writes it, or not. What is no message is passed on."""
    try:
        async for data in pipe:
            pipe.kept += data
            while length := measure(pipe.kept):
                if len(pipe.kept) < length:
                    break
                message = bytes(pipe.kept[:length])
                del pipe.kept[:length]
                yield message
    except NotThisProtocol:
        await flush(pipe)
        async for data in pipe:
            await pipe.write(data)
    if pipe.ended and not pipe.interrupted:
        await flush(pipe)


async def flush(pipe: Pipe) -> None:
    """Pass on what is kept."""
    rest = bytes(pipe.kept)
    pipe.kept.clear()
    if rest:
        await pipe.write(rest)
