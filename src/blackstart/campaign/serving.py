"""What a clean run of a service must have shown before anything of it is broken; the messages say what is missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import msgspec

from blackstart.campaign import ground
from blackstart.core.calibration import Calibration, CleanRun, Effect
from blackstart.core.errors import Undecided
from blackstart.core.history import EXITED, SIGNALED, STOPPED, Run
from blackstart.core.options import Options
from blackstart.core.reading import Image, Reading
from blackstart.core.trace import Operation
from blackstart.gate import Recorder
from blackstart.guard import parse_allowed
from blackstart.guard.doors import PEER
from blackstart.sandbox.machine import LANDLOCK
from blackstart.surface import Versions, effects, write_behind
from blackstart.targets import Command, Duty, Patience, Service
from blackstart.trials import Bench
from blackstart.trials.outside import Outside, find
from blackstart.trials.taping import OBSERVED

IGNORES_TERM_S = 1.0
# How long the first start may take to be ready, where the budget has room for it.
READY_S = 30.0
# So long a service is watched for what it does by itself: what comes five times in it is periodic.
WATCH_S = 12.0
_SOCKET = "socket:"


def service_of(options: Options, target: Command, check: Command | None, isolation: str) -> Service | None:
    """How the service is reached and used; None for a job."""
    service = ground.service(options, target, check)
    if service is not None and isolation == LANDLOCK:
        raise Undecided(
            "a service needs a network of its own, which this mode of isolation does not give",
            next_step="run it in namespaces; `blackstart doctor` says what refuses them here",
        )
    return service


def companions_of(options: Options, target: Command, isolation: str) -> tuple[Command | Outside, ...]:
    """What the target needs: started first beside it, or outside and allowed by name."""
    doors = [door.address for door in map(parse_allowed, options.allow) if door.kind == PEER]
    started = ground.companions(options, target)
    if doors and isolation == LANDLOCK:
        raise Undecided(
            f"this mode of isolation has no network, so that no peer can be opened: {doors[0]}",
            next_step="run it in namespaces; `blackstart doctor` says what refuses them here",
        )
    if started and isolation == LANDLOCK:
        raise Undecided(
            "companions need a network of their own, which this mode of isolation does not give",
            next_step="run it in namespaces; `blackstart doctor` says what refuses them here",
        )
    return *started, *map(find, doors)


def must_serve(run: Run, trace: Iterable[Operation]) -> None:
    """Raise Undecided where the service did not come up, stay up, and do its work."""
    where = " | ".join(_said(run))
    life = run.life
    assert life is not None
    if run.end.how == EXITED and run.left:
        raise Undecided(
            "the program goes on in the background while its first process ends: which of them to stop is not known",
            where=", ".join(run.left[:3]),
            next_step="give it the option that keeps it in the foreground",
        )
    if life.ready_s < 0:
        if run.end.how in (EXITED, SIGNALED):
            how = f"exit status {run.end.code}" if run.end.how == EXITED else f"signal {run.end.signal}"
            raise Undecided(
                f"the service ended ({how}) before it was ready",
                where=where,
                next_step=_port_taken(where)
                or "make it start by itself first; where it is a job that ends, leave --ready out",
            )
        listens = ports(trace)
        wait = run.end.wait
        seen = f"; it waits in {wait.call}" if wait is not None and wait.call else ""
        seen = f"; it listens on {', '.join(listens)}" if listens else seen
        more = ", or more --budget where it only starts slowly" if run.end.elapsed_s < READY_S else ""
        raise Undecided(
            f"the service was not ready within {run.end.elapsed_s:.0f} s, as far as --ready tells{seen}",
            where=where,
            next_step=f"give --ready tcp:{listens[0].rpartition(':')[2]}" if listens else f"give another --ready{more}",
        )
    if run.end.how != STOPPED:
        how = f"exit status {run.end.code}" if run.end.how == EXITED else f"signal {run.end.signal}"
        raise Undecided(
            f"the service ended by itself ({how}) {run.end.elapsed_s - life.ready_s:.1f} s after it was ready",
            where=where,
            next_step=_port_taken(where) or "a program that ends is a job: leave --ready out; or find out why it ends",
        )
    if life.workload.is_known and not life.workload.is_well:
        raise Undecided(
            f"the workload does not work on a service that nothing disturbs: {life.workload}",
            next_step="make it end with status 0 there; `fail` and `info` lines are for what the service refuses",
        )
    if any(act.how != "ok" for act in life.acts):
        bad = next(act for act in life.acts if act.how != "ok")
        raise Undecided(
            f"the workload says `{bad.how} {bad.id}` though nothing disturbs the service",
            where=life.workload.said,
            next_step="make every line of a clean run `ok ID`, else there is nothing to compare with",
        )


def must_answer(answers: Sequence[Reading]) -> None:
    """Raise where `--check` fails after every clean run: it could tell nothing after a fault."""
    if answers and all(answer.error or not answer.value.startswith("0\n") for answer in answers):
        status, _, said = answers[0].value.partition("\n")
        raise Undecided(
            f"--check fails after a clean run: {answers[0].error or f'exit status {status}'}",
            where=said.strip()[-200:],
            next_step="let it end with status 0 where all is well; it is run in the target's directory by /bin/sh",
        )


def must_keep(why: str) -> NoReturn:
    """Where no stop that nothing disturbs keeps what was acknowledged, nothing would be told of what a fault takes."""
    raise Undecided(
        "what the service acknowledged is gone after a stop and a start that nothing disturbs",
        where=why.partition(": ")[2],
        next_step="let it keep at its stop what it has acknowledged; or leave --check out, if it need not",
    )


def went_well(run: Run) -> bool:
    """Whether a clean start did: a job ended with 0, a service was stopped."""
    return run.end.how == STOPPED or (run.end.how == EXITED and run.end.code == 0)


def spans(run: Run) -> tuple[float, float]:
    """(seconds to get ready or to stop, seconds of work); of a job, its whole length and none."""
    life = run.life
    if life is None:
        return run.end.elapsed_s, 0.0
    stopping_s = run.end.elapsed_s - life.stop_s if life.held_up is None else 0.0
    return max(life.ready_s, stopping_s), life.stop_s - life.ready_s


def lasted_s(run: Run) -> float:
    """How long such a start takes from now on: one that ignores TERM is not waited for again."""
    is_held_up = run.life is not None and run.life.held_up is not None
    return run.life.stop_s + IGNORES_TERM_S if run.life and is_held_up else run.end.elapsed_s


def measured(service: Service | None, run: Run) -> Service | None:
    """The service with the time to stop that it is given from now on; whether it stops at all."""
    if service is None or run.life is None:
        return service
    ignores = run.life.held_up is not None
    limit_s = IGNORES_TERM_S if ignores else max(3 * (run.end.elapsed_s - run.life.stop_s), 5.0)
    return msgspec.structs.replace(service, stop_limit_s=limit_s, stops=not ignores)


def unless_it_stops(service: Service | None, run: Run) -> Service | None:
    """The service; where it ignored TERM, as one that is not waited for at each stop."""
    is_held_up = run.life is not None and run.life.held_up is not None
    return measured(service, run) if is_held_up else service


def ends_only(before: Image, after: Image) -> Versions:
    """What stood in each file before a clean start and after it: no more is known of a service's files."""
    return Versions(
        versions={path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()},
        acknowledgements=(),
    )


def behind(clean: CleanRun, roles: Mapping[str, str]) -> str:
    """Whether a service acknowledges before it writes, in a sentence; `` of a job, and where it does not."""
    life = clean.life
    return write_behind(clean.trace, life.acts, roles, life.ready_s, life.stop_s) if life is not None else ""


def periodic(bench: Bench, patience: Patience) -> tuple[tuple[Effect, ...], bool]:
    """What it does by itself, again and again, when nobody uses it any more; whether its workload can be repeated."""
    duty = Duty(asks=False, heal=lambda: None, watch_s=WATCH_S, works_again=True, again_max_s=0.0)
    recorder = Recorder(mask=bench.masker)
    with bench.image_from("S0") as image, bench.zygote.sandbox(image) as sandbox:
        run, seen = bench.start(
            sandbox, image, "watched", calls=OBSERVED, recorder=recorder, patience=patience, duty=duty
        )
    life = run.life
    assert life is not None
    repeats = all(act.how == "ok" for act in life.again) and life.again_workload.is_well
    if not 0 <= life.again_s < life.stop_s:
        return (), repeats
    return effects(seen.trace, life.again_s, min(life.again_s + WATCH_S, life.stop_s)), repeats


def patience_of(calibration: Calibration) -> Patience:
    """What a start may take in a trial."""
    return Patience.after(calibration.slowest_s, calibration.slowest_work_s)


def ports(trace: Iterable[Operation]) -> list[str]:
    """Where it listens, as far as its trace tells: addresses with ports that it bound."""
    bound = (o.path.removeprefix(_SOCKET) for o in trace if o.call == "bind" and o.path.startswith(_SOCKET))
    return [address for address in dict.fromkeys(bound) if address.rpartition(":")[2].isdecimal()]


def _port_taken(said: str) -> str:
    """What to do where it says that its port is taken; nothing of the host is in its way."""
    if os.strerror(errno.EADDRINUSE).lower() not in said.lower():
        return ""
    return "a companion (--with) or another process of its own has that port already; nothing else can: give it another"


def _said(run: Run) -> list[str]:
    text = run.text("stderr") or run.text("stdout")
    return text.decode("utf-8", "replace").strip().splitlines()[-3:]
