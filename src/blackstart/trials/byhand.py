"""A whole program once, with the faults that somebody ordered by hand: no plan, no oracle, no verdict.

What `target` does in a test and `blackstart inject` on the command line. The gate stops what a recording needs, so
that paths are known, and besides that whatever an order names: a call that nobody stops would never be hit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from blackstart.core.clock import SYSTEM

if TYPE_CHECKING:
    from blackstart.core.randomness import Source
    from blackstart.gate import Supervisor, Tamper
    from blackstart.trials.stage import Stage

HERE = "$CWD"
_CHUNK_BYTES = 1 << 16


def captured(
    stage: Stage,
    command: Sequence[str],
    tampers: Sequence[Tamper],
    *,
    cwd: str,
    env: Mapping[str, str],
    timeout_s: float,
    random: Source,
) -> tuple[Supervisor, int, bytes, bool]:
    """(its gate, exit status, what it said on both outputs, whether it ended in time)."""
    output, into = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        supervisor = _started(stage, command, tampers, cwd, env, (null, into, into), random)
        os.close(into)
        into = -1
        try:
            said, in_time = _served(supervisor, output, stage, timeout_s)
        finally:
            stage.kill()
            supervisor.close()
        return supervisor, stage.status(), said + _rest(output), in_time
    finally:
        for descriptor in (output, into, null):
            if descriptor >= 0:
                os.close(descriptor)


def _started(
    stage: Stage,
    command: Sequence[str],
    tampers: Sequence[Tamper],
    cwd: str,
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    random: Source,
) -> Supervisor:
    from blackstart.gate import DEFAULT, Recorder, Supervisor, closure, expand
    from blackstart.gate.filter import compile as compile_filter

    gated = closure(DEFAULT.union(*(expand(tamper.match.call) for tamper in tampers)))
    stage.start(command, env, compile_filter(gated), streams)
    return Supervisor(
        stage.listener,
        tampers=tampers,
        record=Recorder(),
        mask=lambda path: stage.usual(path).replace(cwd, HERE),
        kill=stage.kill,
        gated=gated,
        random=random,
    )


def _served(supervisor: Supervisor, output: int, stage: Stage, timeout_s: float) -> tuple[bytes, bool]:
    """What the program said until its end, and whether that was in time."""
    said, until, open_ones = b"", SYSTEM.monotonic() + timeout_s, [output, stage.ended]
    while SYSTEM.monotonic() < until:
        ready = supervisor.serve_until(open_ones, max(0.0, until - SYSTEM.monotonic()))
        if output in ready:
            piece = os.read(output, _CHUNK_BYTES)
            said += piece
            if not piece:
                open_ones.remove(output)
        if stage.ended in ready or stage.is_killed:
            return said, True
    return said, False


def _rest(output: int) -> bytes:
    """What is left in the pipe, and no waiting for what may come: somebody who got away may hold its other end."""
    os.set_blocking(output, False)
    said = b""
    try:
        while piece := os.read(output, _CHUNK_BYTES):
            said += piece
    except BlockingIOError:
        pass
    return said
