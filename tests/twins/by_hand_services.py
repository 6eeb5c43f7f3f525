"""Breaks the twins that are services without blackstart, as by_hand.py breaks those that end by themselves.

Each is waited for until it says that it is up, left to its work for a while, and told to stop. What it does by itself
is to be seen in a file that goes on changing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.twins.by_hand import (
    BEFORE,
    HELD_ROUNDS,
    LOCK,
    LOOK_EVERY_S,
    NAMES,
    PATIENCE_S,
    Point,
    deliveries,
    end_group,
    ended,
    failing,
    fresh,
    held,
    holding,
    points,
)
from tests.twins.making import UP

SECONDS = "seconds"
SECONDS_NAMES = (SECONDS, f"{SECONDS}.new", ".")
# So often must what comes each second come, each time within so long; after that time a kill's moment is to come on the
# way out.
BEATS, BEAT_S, IDLE_S = 2, 6.0, 0.5


@dataclass(frozen=True)
class Life:
    """is_up: it said so; is_told: it lived until it was told to stop; code: None where it did not stop then."""

    is_up: bool
    is_told: bool
    is_at_work: bool
    code: int | None


@contextmanager
def running(
    command: list[str], directory: Path, says: str, *, may_be_held: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], bool]]:
    """The process that was started, and whether the service says that it is up; all of it is ended in the end."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process, is_up(process, said.fileno(), says, may_be_held=may_be_held)
        finally:
            with suppress(ProcessLookupError):
                end_group(process)


def is_up(process: subprocess.Popen[bytes], said: int, says: str, *, may_be_held: bool) -> bool:
    seen, end = 0, time.monotonic() + PATIENCE_S
    while seen < HELD_ROUNDS and time.monotonic() < end and process.poll() is None:
        if says.encode() in os.pread(said, 100, 0):
            return True
        time.sleep(LOOK_EVERY_S)
        seen = seen + 1 if may_be_held and held(process.pid) else 0
    return False


def tell_to_stop(process: subprocess.Popen[bytes]) -> bool:
    """TERM to the service itself, be it that strace started it; whether it was still there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    is_traced = process.args[0] == "strace"  # type: ignore[index]
    try:
        told = int(children.read_text().split()[0]) if is_traced else process.pid
        os.kill(told, signal.SIGTERM)
    except (FileNotFoundError, IndexError, ProcessLookupError):
        return False
    return process.poll() is None


def content(directory: Path) -> bytes:
    try:
        return (directory / SECONDS).read_bytes()
    except FileNotFoundError:
        return b""


def beats(process: subprocess.Popen[bytes], directory: Path, times: int) -> bool:
    """Whether it goes on with what it does each second."""
    for _ in range(times):
        earlier, end = content(directory), time.monotonic() + BEAT_S
        while content(directory) == earlier:
            if time.monotonic() > end or process.poll() is not None:
                return False
            time.sleep(LOOK_EVERY_S)
    return True


def live(consequence: str, command: list[str], directory: Path, times: int = 1) -> Life:
    """One life, from its start to its end by TERM; times: for how many seconds what comes each second is watched."""
    with running(command, directory, UP[consequence]) as (process, up):
        is_at_work = up and (consequence != "dead" or beats(process, directory, times))
        is_told = up and tell_to_stop(process)
        return Life(is_up=up, is_told=is_told, is_at_work=is_at_work, code=ended(process))


def after(consequence: str, command: list[str], directory: Path) -> str:
    """What the next start makes of the state: a consequence, or nothing."""
    before = int(content(directory) or 0) if consequence == "dead" else deliveries(directory)
    again = live(consequence, command, directory)
    if again.is_up and again.code is None:
        return "hung"
    if not again.is_up or not again.is_at_work or again.code != 0:
        return "stuck"
    if consequence == "dead":
        return "" if int(content(directory)) > before else "lost"
    return "" if BEFORE <= before == deliveries(directory) - 2 else "lost"


def fail(consequence: str, command: list[str], directory: Path, point: Point) -> str:
    life = live(consequence, [*failing(directory, point), *command], directory, BEATS)
    if life.code is None:
        return "hung"
    if life.is_told and not life.is_at_work:
        return "dead"
    # Who is kept from removing it leaves it there.
    if life.is_told and (directory / LOCK).exists() and not point.call.startswith("unlink"):
        return "unclean"
    return after(consequence, command, directory)


def kill(consequence: str, command: list[str], directory: Path, point: Point) -> str:
    """The call is held back, and all processes are killed meanwhile, be it on the way out."""
    held_back = [*holding(directory, point), *command]
    with running(held_back, directory, UP[consequence], may_be_held=True) as (process, up):
        if up and not is_held(process, IDLE_S) and tell_to_stop(process):
            is_held(process, PATIENCE_S)
    return after(consequence, command, directory)


def is_held(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether a call is held back before it ends and within so long."""
    seen, end = 0, time.monotonic() + within_s
    while seen < HELD_ROUNDS and time.monotonic() < end and process.poll() is None:
        time.sleep(LOOK_EVERY_S)
        seen = seen + 1 if held(process.pid) else 0
    return seen == HELD_ROUNDS


def consequences(consequence: str, command: list[str], work: Path) -> Counter[str]:
    """How often each consequence came about, over every point, once by an error and once by a kill."""
    found: Counter[str] = Counter()
    work.mkdir()
    names = SECONDS_NAMES if consequence == "dead" else NAMES
    places = points(command, work, names, partial(live, consequence))
    if consequence == "dead":
        places = [point for point in places if point.nth == 1]  # each second is like the first one
    for point in places:
        for break_it in (fail, kill):
            fresh(work)
            if came := break_it(consequence, command, work, point):
                found[came] += 1
    return found
