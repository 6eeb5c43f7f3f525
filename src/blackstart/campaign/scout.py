"""Scouting: one clean run that finds where the program keeps its state, and counts for nothing else.

It runs on overlays, so that nothing need be copied before it is known what. What it changes, and what it reads below
the working directory, is copied from then on. A program that does not work here is not broken any further: the
message says what it lacks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial

from blackstart.campaign import ground
from blackstart.campaign.serving import READY_S, must_answer, must_serve, ports, unless_it_stops
from blackstart.core.calibration import Mask
from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.errors import Undecided
from blackstart.core.history import EXITED, Run
from blackstart.core.masking import Masker, rooted
from blackstart.core.options import Options
from blackstart.core.signals import signal_name
from blackstart.core.trace import FILE, OPENING, Operation
from blackstart.gate import Recorder
from blackstart.probes import Prober
from blackstart.sandbox import Zygote
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Command, Patience, Service
from blackstart.targets.readiness import FORMS
from blackstart.trials import Bench
from blackstart.trials.outside import Outside
from blackstart.trials.taping import OBSERVED

# When it is said that a job still runs.
TOLD_AFTER_S = 5
_UNIX = "socket:unix:"
FIRST_PATIENCE = Patience(deadline_s=READY_S, hard_s=60.0)


def scout(
    options: Options,
    target: Command,
    opened: tuple[str, ...],
    isolation: str,
    service: Service | None,
    companions: tuple[Command | Outside, ...],
    left_s: Callable[[], float],
    tell: Callable[[str], None],
) -> tuple[list[str], list[str], Service | None]:
    """(directories, made, service): those declared, and where a clean run on overlays changed something; what it made
    anew; the service, perhaps as one that is known to ignore TERM. tell: hears of a job that takes long.
    """
    directories, alone = ground.declared(options)
    clean = partial(_scouted, options, target, opened, isolation, directories, service, companions, left_s, tell)
    run, trace, changed = clean()
    if run.end.how == EXITED and run.end.code != 0:
        # An overlay is not quite a file system; on a copy of the working directory it may work.
        if ground.is_small(target.cwd) and target.cwd not in directories:
            directories.append(target.cwd)
            run, trace, changed = clean()
    (must_work if service is None else must_serve)(run, trace)
    if any(reading.error for reading in run.readings):
        must_answer(run.readings)
    read = [o.path for o in trace if o.call in OPENING and o.kind == FILE]
    found, made = ground.state_directories(changed)
    found, made = ground.with_roots(found, sorted({*made, *alone}), trace)
    if isolation == LANDLOCK:  # there are no overlays in which something could be made
        found, made = [*found, *map(os.path.dirname, made)], []
    known = list(dict.fromkeys([*directories, *found, *ground.read_directories(read, target.cwd)]))
    return known, made, unless_it_stops(service, run)


def _scouted(
    options: Options,
    target: Command,
    opened: tuple[str, ...],
    isolation: str,
    directories: list[str],
    service: Service | None,
    companions: tuple[Command | Outside, ...],
    left_s: Callable[[], float],
    tell: Callable[[str], None],
) -> tuple[Run, tuple[Operation, ...], list[str]]:
    """(run, trace, changed paths) of one clean run with these directories as copies and all else on overlays."""
    layout = ground.layout(options, target, directories, opened)
    with ground.open_zygote(layout, isolation) as zygote:
        zygote.capture("S0")
        bench = bench_on(zygote, target, None, Mask(), service, companions)
        patience = _within(left_s())
        bench.left_s = left_s if service else telling(left_s, tell, patience.deadline_s)
        with zygote.sandbox("S0") as sandbox:
            recorder = Recorder(mask=bench.masker)
            run, conducted = bench.start(
                sandbox, "S0", "scouting", calls=OBSERVED, recorder=recorder, patience=patience
            )
            changed = [change.path for change in sandbox.changes()]
            if why := sandbox.trouble((), ()):
                raise Undecided(
                    f"what a clean run writes does not fit here: {why}",
                    where=f"{zygote.limit_bytes >> 20} MB is all that one run may write",
                    next_step="let it write less, such as a log that ends at a size, or a run that ends sooner",
                )
    return run, conducted.trace, changed


def telling(
    left_s: Callable[[], float], tell: Callable[[str], None], deadline_s: float, clock: Clock = SYSTEM
) -> Callable[[], float]:
    """The same, but who waits for so long as it says hears once that a job still runs: else half a minute is silent."""
    at_s = clock.monotonic() + TOLD_AFTER_S
    is_told = deadline_s <= TOLD_AFTER_S

    def asked() -> float:
        nonlocal is_told
        soon_s = at_s - clock.monotonic()
        if not is_told and soon_s <= 0:
            is_told = True
            tell(f"it runs for {TOLD_AFTER_S} s now; one that has not ended after {deadline_s:.0f} s may be a service")
        return left_s() if is_told else min(left_s(), soon_s)

    return asked


def _within(left_s: float) -> Patience:
    """So long that a job which does not end, a service which is not ready or a workload which hangs is looked at, and
    named, before the budget is used up.
    """
    first = FIRST_PATIENCE
    deadline_s, hard_s = min(first.deadline_s, 0.7 * left_s), min(first.hard_s, 0.9 * left_s)
    return Patience(deadline_s=deadline_s, hard_s=hard_s, work_s=min(first.work_s, 0.6 * left_s))


def last_words(run: Run) -> str:
    """What it said last, on one line; some programs have but one stream for all that they say."""
    said = run.text("stderr").strip() or run.text("stdout").strip()
    return " | ".join(said.decode("utf-8", "replace").splitlines()[-3:])


def must_work(run: Run, trace: tuple[Operation, ...]) -> None:
    """Raise where the clean run itself fails: there is nothing to compare with then."""
    end = run.end
    where = last_words(run)
    listens = ports(trace)
    if end.how == "deadline" and listens:
        raise Undecided(
            f"the program keeps running and listens on {', '.join(listens)}: it is a service",
            where=where,
            next_step=f"say how one sees that it is ready: --ready tcp:{listens[0].rpartition(':')[2]}",
        )
    if end.how == "deadline":
        raise Undecided(
            f"the program did not end within {end.elapsed_s:.0f} s"
            + (f" (it waits in {end.wait.call})" if end.wait and end.wait.call else ""),
            where=where,
            next_step="give it an end (an option such as --once, or `timeout`), or an input with --stdin; where it is "
            f"meant to keep running, say how one sees that it is ready: --ready {FORMS}",
        )
    if end.how != EXITED or end.code != 0:
        how = f"exit status {end.code}" if end.how == EXITED else f"it died of {signal_name(end.signal)}"
        # Any other status must still show: `|| true` would hide all of them.
        keeps = f"sh -c 'CMD; s=$?; [ $s = {end.code} ] || exit $s'"
        raise _failed(how, where, trace, f" (where that status is meant so: {keeps})" if end.how == EXITED else "")


def _failed(how: str, where: str, trace: tuple[Operation, ...], meant: str = "") -> Undecided:
    """What a clean run that failed may have lacked, by what it asked for; meant: how to allow for its status."""
    asked = sorted({o.path for o in trace if o.call == "connect" and not o.path.startswith("socket:unix:@")})
    # A socket that is not there outside either was refused by nobody; a library asks at usual places first.
    peers = [peer for peer in asked if not peer.startswith(_UNIX) or os.path.exists(peer.removeprefix(_UNIX))]
    if peers:
        return Undecided(
            f"the clean run failed ({how}) and it needs what the sandbox refuses: {', '.join(peers)}",
            where=where,
            next_step=_door_advice(peers),
        )
    # A pipe that one of its children reads there is not this, nor is a file that was given.
    if any(o.fd == 0 and o.call in ("read", "readv") and o.path == os.devnull for o in trace):
        return Undecided(
            f"the clean run in the sandbox failed ({how}), and it reads its standard input, which is empty here",
            where=where,
            next_step="give it a file to read: --stdin FILE",
        )
    if any(o.path == "/dev/tty" for o in trace):
        return Undecided(
            f"the clean run failed ({how}) and it asks a terminal: /dev/tty, of which there is none in the sandbox",
            where=where,
            next_step="start it so that it asks nothing, or takes its answers from standard input: --stdin FILE",
        )
    # A shell runs it nevertheless, so it works when it is tried by hand.
    if where.startswith(f"cannot be executed: {os.strerror(errno.ENOEXEC)}"):
        return Undecided(
            f"the program cannot be started ({how})",
            where=where,
            next_step="a script needs a first line such as #!/bin/sh, or its interpreter before it: sh SCRIPT",
        )
    if "cross-device" in where.lower():
        return Undecided(
            f"the clean run in the sandbox failed ({how}): there each directory of state is a file system of its own",
            where=where,
            next_step="let its temporary files be made beside what it keeps, as with --env TMPDIR=DIRECTORY",
        )
    absent = f"; where it cannot do without {asked[0].removeprefix(_UNIX)}: --with 'SERVER'" if asked else ""
    return Undecided(
        f"the clean run in the sandbox failed: {how}",
        where=where,
        next_step=f"make the command succeed by itself first{meant}{absent}; "
        "`blackstart doctor` says what a sandbox may lack here",
    )


def _door_advice(peers: list[str]) -> str:
    sockets = [p.removeprefix(_UNIX) for p in peers if p.startswith(_UNIX)]
    inet = [p.partition(":")[2].partition(":")[2] for p in peers if p.startswith("socket:inet")]
    if sockets:
        return f"open that door by name: --allow socket:{sockets[0]}"
    door = f"; or let it reach {inet[0]} outside: --allow peer:{inet[0]}" if inet else ""
    return f"start what it needs beside it: --with 'SERVER'{door}"


def bench_on(
    zygote: Zygote,
    target: Command,
    check: Command | None,
    mask: Mask,
    service: Service | None = None,
    companions: tuple[Command | Outside, ...] = (),
) -> Bench:
    masker = Masker(rooted(mask, target.cwd, target.env["HOME"]))
    prober = Prober(zygote)
    return Bench(
        zygote=zygote,
        command=target,
        check=check,
        masker=masker,
        prober=prober,
        service=service,
        companions=companions,
    )
