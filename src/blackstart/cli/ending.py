"""How a command ends: the three kinds of trouble are told in three ways.

The operator's mistake is told as what, where and the next step, without a traceback. An interruption ends with 130. Our
own defect is loud: the whole traceback, a line that asks for a report, and an exit status that nothing else has.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from blackstart import __version__
from blackstart.core.errors import BlackstartError

UNDECIDED, DEFECT, INTERRUPTED, BROKEN_PIPE = 3, 70, 130, 141
# Who writes to standard output: this module flushes it, the terminal report and a report that goes to `-` print.
_PRINTERS = (__name__, *(f"blackstart.report.{name}" for name in ("live", "terminal", "views")))


def parsed(app: Callable[[], object]) -> None:
    """Run the parser of the command line, which prints help and usage itself and takes a stream that is full, or whose
    reader went away, for a status of 1: `findings`."""
    try:
        app()
    except SystemExit as leaving:
        if isinstance(getattr(leaving.__context__, "__cause__", None), KeyboardInterrupt):
            say("blackstart: interrupted")  # before the command had begun; the parser says nothing of it
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        trouble: OSError = leaving.__context__
    except OSError as error:
        trouble = error
    else:
        return
    finally:
        _drop_unsaid()
    usage = getattr(trouble.__context__, "exit_code", None)  # what standard error could not take was a wrong usage
    sys.exit(_unprinted(trouble) if usage is None else usage)


def finish(job: Callable[[], int]) -> NoReturn:
    """Do the job and end with its exit status; what escapes from it becomes last words and a status of its own."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        status = job()
        sys.stdout.flush()
    except BlackstartError as error:
        say(f"blackstart: {told(error)}")
        status = error.exit_status
    except KeyboardInterrupt:
        say("blackstart: interrupted")
        status = INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and _is_of_printing(error):
            sys.exit(_unprinted(error))
        say(traceback.format_exc().rstrip())
        say(
            f"blackstart: this is a defect in blackstart {__version__} itself, not in your program (Python "
            f"{platform.python_version()}, Linux {platform.release()}, {platform.machine()}).\n"
            "  next:  report it with the lines above; `blackstart undo` cleans up what was left"
        )
        status = DEFECT
    sys.exit(status)


def told(error: BlackstartError) -> str:
    """The error's three parts, made harmless, each on its line."""
    from blackstart.report.text import plain

    lines = [plain(line) for line in error.what.split("\n")]
    if error.where:
        lines.append(f"  where: {plain(error.where)}")
    if error.next_step:
        lines.append(f"  next:  {plain(error.next_step)}")
    return "\n".join(lines)


def say(text: str) -> None:
    """To standard error, whatever state it is in."""
    raw = (text + "\n").encode("utf-8", "backslashreplace")
    try:
        sys.stderr.flush()
        os.write(2, raw)
    except (OSError, ValueError):
        pass


def _drop_unsaid() -> None:
    """What standard error does not take is dropped: Python would try again at exit, and end with 120 instead."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _is_of_printing(error: OSError) -> bool:
    """Whether it came from who prints: standard output is full, or its reader went away."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""
    return module in _PRINTERS or module.partition(".")[0] in ("rich", "typer", "click")


def _unprinted(error: OSError) -> int:
    """The exit status, with the reason said. The rest is dropped: Python would complain again while it flushes at
    exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE  # who read us has seen enough
    say(f"blackstart: standard output cannot be written: {error.strerror}")
    say("  next:  free space on it, or send it elsewhere; `blackstart report` shows the last run again")
    return UNDECIDED


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What interrupts us meanwhile does so at the end of it: for short steps that leave something to stop."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt(signal.Signals(came[0]).name)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
