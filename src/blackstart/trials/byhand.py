"""A whole program once, with the faults that somebody ordered by hand: no plan, no oracle, no verdict.

What `target` does in a test and `blackstart inject` on the command line. The gate stops what a recording needs, so
that paths are known, and besides that whatever an order names: a call that nobody stops would never be hit.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from blackstart.core.clock import SYSTEM

if TYPE_CHECKING:
    from blackstart.core.randomness import Source
    from blackstart.gate import Supervisor, Tamper
    from blackstart.trials.stage import Stage

HERE = "$CWD"
_Taker = Callable[[bytes], object]
_CHUNK_BYTES = 1 << 16
_ROUND_S = 3600.0


def usual_path(call: str) -> str:
    """Which paths are meant where none is named: all below the directory; of calls that are about no file, any."""
    from blackstart.gate import OF_FILES, expand

    return f"{HERE}*" if expand(call) & OF_FILES else "*"


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
    said: list[bytes] = []
    with _pipe() as (output, into), _null() as null:
        supervisor = _started(stage, command, tampers, cwd, env, (null, into.fileno(), into.fileno()), random)
        into.close()
        in_time = _served(supervisor, {output: said.append}, stage, timeout_s)
        return supervisor, stage.status(), b"".join(said), in_time


def shared(
    stage: Stage, command: Sequence[str], tampers: Sequence[Tamper], *, cwd: str, random: Source
) -> tuple[Supervisor, int | None]:
    """(its gate, exit status; None if we were interrupted) of one whose output is ours, and which has our environment
    and all the time it takes.

    Its standard input is ours too where that is a file or a pipe: no terminal of ours leads into a sandbox.
    """
    with _pipe() as (output, into), _pipe() as (errors, into_errors), _null() as null:
        streams = (0 if _is_handed_on(0) else null, into.fileno(), into_errors.fileno())
        supervisor = _started(stage, command, tampers, cwd, os.environ, streams, random)
        into.close()
        into_errors.close()
        try:
            _served(supervisor, {output: partial(_pass_on, 1), errors: partial(_pass_on, 2)}, stage, math.inf)
        except KeyboardInterrupt:
            stage.status()  # which collects it
            return supervisor, None
        return supervisor, stage.status()


@contextmanager
def _pipe() -> Iterator[tuple[int, BinaryIO]]:
    output, into = os.pipe()
    try:
        with open(into, "wb", buffering=0) as writing:
            yield output, writing
    finally:
        os.close(output)


@contextmanager
def _null() -> Iterator[int]:
    with open(os.devnull, "r+b", buffering=0) as null:
        yield null.fileno()


def _is_handed_on(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
        return stat.S_ISREG(mode) or os.readlink(f"/proc/self/fd/{descriptor}").startswith(("pipe:", "socket:"))
    except OSError:
        return False


def _pass_on(descriptor: int, piece: bytes) -> None:
    """Where nobody reads it any more it is dropped: the program is watched to its end all the same."""
    try:
        while piece:
            piece = piece[os.write(descriptor, piece) :]
    except OSError:
        pass


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


def _served(supervisor: Supervisor, takers: Mapping[int, _Taker], stage: Stage, timeout_s: float) -> bool:
    """Hand on what the program says until its end, and end all of it; whether that end was in time."""
    until, open_ones, is_over = SYSTEM.monotonic() + timeout_s, [*takers, stage.ended], False
    try:
        while not is_over and (left_s := until - SYSTEM.monotonic()) > 0:
            ready = supervisor.serve_until(open_ones, min(left_s, _ROUND_S))
            for output in [one for one in takers if one in ready]:
                piece = os.read(output, _CHUNK_BYTES)
                takers[output](piece)
                if not piece:
                    open_ones.remove(output)
            is_over = stage.ended in ready or stage.is_killed
    finally:
        stage.kill()
        supervisor.close()
    for output, take in takers.items():
        _rest(output, take)
    return is_over


def _rest(output: int, take: _Taker) -> None:
    """What is left in the pipe, and no waiting for what may come: somebody who got away may hold its other end."""
    os.set_blocking(output, False)
    try:
        while piece := os.read(output, _CHUNK_BYTES):
            take(piece)
    except BlockingIOError:
        pass
