"""`blackstart net`: a command in a lab of hosts and bad links, and the profiles of such links."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blackstart.cli.ending import finish, held

if TYPE_CHECKING:
    from blackstart.lab import Lab, Process
    from blackstart.lab.description import Description

_STOP_S = 5.0
_PRINTED = ("profiles", "compose")


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command(short_help="Run a command on hosts joined by bad links.")(net)


def net(
    what: Annotated[str, typer.Argument(metavar="FILE|profiles|compose", help="A lab's file, or what to print.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="-- CMD...", help="The command to run.")] = None,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Where it runs; else the first host.")] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="All links are such links, besides what FILE says.")
    ] = "",
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of every draw; else new.")] = None,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="compose: the service under test; else app.")
    ] = "",
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="compose: an image that has tc.")] = "",
    interface: Annotated[
        str, typer.Option("--interface", metavar="NAME", help="compose: its interface; else eth0.")
    ] = "",
) -> None:
    """Run a command on a host of a lab with bad links; or print the `profiles`, or a `compose` file of them.

    Needs no root. Exit status: that of the command; 2 wrong usage, 3 where this machine gives no namespaces.
    """

    def job() -> int:
        of_lab = {"-- CMD": command, "--host": host, "--profile": profile, "--seed": seed is not None}
        of_compose = {"--service": service, "--image": image, "--interface": interface}
        _refuse(what, {**({} if what == "compose" else of_compose), **(of_lab if what in _PRINTED else {})})
        if what == "profiles":
            return _profiles()
        if what == "compose":
            from blackstart.lab.compose import compose

            typer.echo(compose(service or "app", image=image, interface=interface or "eth0"), nl=False)
            return 0
        return _run(Path(what), command or [], host, profile, seed)

    finish(job)


def _refuse(what: str, given: Mapping[str, object]) -> None:
    """What would change nothing here is a mistake."""
    from blackstart.core.errors import BlackstartError

    vain = next((option for option, value in given.items() if value), "")
    if vain:
        step = f"leave it out, or name the file ./{what}" if what in _PRINTED else "leave it out"
        raise BlackstartError(f"{vain} says nothing to `blackstart net {what}`", next_step=step)


def _profiles() -> int:
    from blackstart.lab import PROFILES, netem

    width = max(map(len, PROFILES))
    for name, wish in PROFILES.items():
        typer.echo(f"{name:{width}}  {netem(wish).partition(' ')[2].partition(' ')[2]}")
    return 0


def _run(path: Path, command: list[str], host: str, profile: str, seed: int | None) -> int:
    from blackstart.core.errors import BlackstartError
    from blackstart.core.verbs import near
    from blackstart.lab import ALL, NetworkChaos
    from blackstart.lab import profile as impairment_of
    from blackstart.lab.description import read_description

    if not path.exists() and (meant := near(str(path), _PRINTED)):
        raise BlackstartError(f"there is no lab {str(path)!r}{meant}", next_step="or name a lab's file")
    if not command:
        raise BlackstartError("no command to run in the lab", next_step=f"blackstart net {path} -- ping -c 3 HOST")
    described = read_description(path)
    lab = _described(described, str(path), seed)
    place = lab[host or next(iter(described.hosts))]
    besides = impairment_of(profile) if profile else None
    with lab:
        from blackstart.core.units import plural

        hosts = ", ".join(f"{one.name} {one.address}" for one in lab)
        typer.echo(f"lab of {plural(len(lab.hosts), 'host')}, seed {lab.seed}: {hosts}", err=True)
        running = [_started(lab, name, one.command, one.ready) for name, one in described.hosts.items() if one.command]
        chaos = NetworkChaos(lab)
        for bad in described.chaos:
            chaos.apply(bad.where, bad.impairment, one_way=bad.one_way)
        if besides is not None:
            chaos.apply(ALL, besides)
        try:
            return _ended(lambda: place.popen(command))
        finally:
            for process in running:
                process.terminate()
            for process in running:
                _stop(process)


def _described(described: Description, path: str, seed: int | None) -> Lab:
    """The lab, not open yet; what is wrong with it is told with the place in the file."""
    from blackstart.lab import Lab, LabError
    from blackstart.lab.chaos import paths

    networks = described.networks or {"lan": list(described.hosts)}
    where, seed = path, described.seed if seed is None else seed
    try:
        lab = Lab(networks=networks, seed=seed, engine=described.engine, roles=described.roles)
        for bad in described.chaos:
            where = bad.place
            paths(lab, bad.where, bad.one_way)
    except LabError as error:
        raise LabError(error.what, where=where, next_step=error.next_step) from None
    return lab


def _started(lab: Lab, name: str, command: list[str], ready: int) -> Process:
    process = lab[name].popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
    if ready:
        lab[name].wait_listening(ready, process=process)
    return process


def _ended(start: Callable[[], Process]) -> int:
    import signal

    process = None
    try:
        with held():  # the command may run before we hold it, and it shall be told of what interrupts us then
            process = start()
        status = process.wait()
    except KeyboardInterrupt:
        if process is not None:
            process.send_signal(signal.SIGINT)
            _stop(process)
        raise
    return status if status >= 0 else 128 - status


def _stop(process: Process) -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
