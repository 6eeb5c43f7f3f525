"""`blackstart inject`: one fault by hand. The program runs once, and what was done to it is told."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from blackstart.cli.ending import INTERRUPTED, UNDECIDED, finish, say

if TYPE_CHECKING:
    from blackstart.gate import Supervisor, Tamper
    from blackstart.trials.stage import Stage

# Of many firings, and of many places, so many are shown.
_SHOWN = 10
_NO_FILES = ("*", "$CWD", "socket:", "stdin", "stdout", "stderr")


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command(short_help="Run a program once with one fault, chosen by hand.")(inject)


def inject(
    call: Annotated[str, typer.Argument(metavar="CALL", help="A system call, such as write, or a group: syncs.")],
    rule: Annotated[str, typer.Argument(metavar="RULE", help="When and what, such as '@3 raise(OSError: EIO)'.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="-- CMD...", help="The program to run.")] = None,
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="At which paths, * is any text; else all below here.")
    ] = "",
    keep: Annotated[
        str, typer.Option("--keep", metavar="DIR", help="A new directory for what it made of this one.")
    ] = "",
    trace: Annotated[bool, typer.Option("--trace", help="List the system calls that the gate saw.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of every draw; else new.")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="On the machine itself: its files and its network.")
    ] = False,
) -> None:
    """Run a program once, with one fault at its system calls.

    It works on a copy of this directory unless told otherwise.

    Exit status: that of the program; 2 wrong usage, 3 the fault never fired.
    """

    def job() -> int:
        from blackstart.core.errors import BlackstartError

        if not command:
            raise BlackstartError("no program to run", next_step=f"blackstart inject {call} {rule!r} -- ./my-program")
        if keep and no_sandbox:
            raise BlackstartError("--keep says nothing with --no-sandbox", next_step="leave one of them out")
        return _run(call, rule, command, path, keep, trace, seed, no_sandbox)

    finish(job)


def _run(
    call: str, rule: str, command: list[str], path: str, keep: str, trace: bool, seed: int | None, no_sandbox: bool
) -> int:
    from blackstart.core.randomness import Seed
    from blackstart.core.rule import parse
    from blackstart.gate import Tamper, matching, refuse
    from blackstart.trials.byhand import shared, usual_path

    cwd = os.path.realpath(os.getcwd())
    tamper = Tamper(match=matching(call, masked(path, cwd) if path else usual_path(call)), rule=parse(rule))
    refuse(tamper.rule, tamper.match)
    drawn = Seed.fresh() if seed is None else Seed(seed)
    with _stage(cwd, keep, no_sandbox) as stage:
        gate, status = shared(stage, command, [tamper], cwd=cwd, random=drawn.source("inject"))
    if trace:
        for line in traced(gate):
            say(line)
    for line in told(gate, tamper):
        say(f"blackstart: {line}")
    if any(term.percent is not None for term in tamper.rule.terms):
        say(f"blackstart: seed {drawn.number}")
    say(f"blackstart: {shlex.join(command)} {_ending(status)}")
    if status is None:
        return INTERRUPTED
    if not any(firing.delivered for firing in gate.firings):
        return UNDECIDED
    return status if status >= 0 else 128 - status


def _ending(status: int | None) -> str:
    if status is None:
        return "was interrupted"
    return f"ended with exit status {status}" if status >= 0 else f"ended with signal {-status}"


@contextmanager
def _stage(cwd: str, keep: str, no_sandbox: bool) -> Iterator[Stage]:
    from blackstart.core.errors import BlackstartError
    from blackstart.trials.stage import contained, machine

    if no_sandbox:
        with machine(cwd) as stage:
            yield stage
        return
    if keep and os.path.lexists(keep):
        raise BlackstartError(f"{keep} is there already", next_step="name a directory that is not there yet")
    with contained(cwd, into=keep or None) as stage:
        if keep:
            _made(keep)  # only now, so that the copy does not have it
        yield stage


def _made(keep: str) -> None:
    from blackstart.core.errors import BlackstartError

    try:
        os.mkdir(keep)
    except OSError as error:
        raise BlackstartError(f"{keep} cannot be made: {error.strerror}", next_step="name another") from None


def masked(path: str, cwd: str) -> str:
    """The pattern of a path that was typed: relative ones are below the directory."""
    return "|".join(_masked(part, cwd) for part in path.split("|"))


def _masked(path: str, cwd: str) -> str:
    if path.startswith(_NO_FILES):
        return path
    below = os.path.relpath(path, cwd) if path.startswith("/") else os.path.normpath(path)
    if below == ".":
        return "$CWD"
    return path if below.startswith("..") else f"$CWD/{below}"


def traced(gate: Supervisor) -> list[str]:
    """Each call that the gate saw, in order, and where the fault fired."""
    fired = {firing.operation.index: firing.verb for firing in gate.firings}
    marks = (f"  <- {fired[one.index]}" if one.index in fired else "" for one in gate.trace)
    return [f"  {one.name.rstrip()} @{one.nth}{mark}" for one, mark in zip(gate.trace, marks, strict=True)]


def told(gate: Supervisor, tamper: Tamper) -> list[str]:
    """What the fault did, a line each: where it fired, or what was there instead."""
    from blackstart.core.units import plural

    lines = []
    for firing in gate.firings[:_SHOWN]:
        note = "" if firing.delivered else f": not done, {firing.note}"
        lines.append(f"{firing.verb} at {firing.operation.name.rstrip()} @{firing.operation.nth}{note}")
    if len(gate.firings) > _SHOWN:
        lines.append(f"… and {len(gate.firings) - _SHOWN} more")
    done, (hits,) = sum(firing.delivered for firing in gate.firings), gate.hits
    lines.append(f"{tamper.rule} at {tamper.match.call} {tamper.match.path}: fired at {done} of {plural(hits, 'hit')}")
    return lines if hits else lines + _instead(gate, tamper)


def _instead(gate: Supervisor, tamper: Tamper) -> list[str]:
    """Where the program made such calls, for one that looked for them elsewhere."""
    from blackstart.gate import expand

    calls = expand(tamper.match.call)
    there = Counter(operation.name.rstrip() for operation in gate.trace if operation.call in calls)
    if not there:
        return ["the program made no such call; --trace lists those that it made"]
    return [f"elsewhere: {name} ({number})" for name, number in there.most_common(_SHOWN)]
