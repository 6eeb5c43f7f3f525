"""Where a campaign stands: the command, its directories and environment, and the layout of its sandboxes.

Pure but for looking at the file system. What is pinned here (hash seed, time zone, locale) is written into every plan.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

from blackstart.core.errors import BlackstartError, TargetError
from blackstart.core.installed import INSTALLED
from blackstart.core.options import Options
from blackstart.core.trace import OPENING, Operation
from blackstart.guard import LEDGER, Ledger
from blackstart.sandbox import Layout, Zygote
from blackstart.sandbox.groups import Noted
from blackstart.sandbox.layout import LIMIT_BYTES
from blackstart.sandbox.machine import LANDLOCK
from blackstart.store import DIRECTORY
from blackstart.targets import Command, Service, parse_ready
from blackstart.targets.readiness import FORMS

SMALL_FILES, SMALL_BYTES = 500, 16 << 20
LARGE_FILES, LARGE_BYTES = 5000, 64 << 20
# What a file is taken for at least: very many empty ones are too much, too.
_ENTRY_BYTES = 512
PINNED = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
# What belongs to a virtual environment, in the directory that also may be a project's own.
_OF_ENVIRONMENTS = ("bin", "include", "lib", "lib64", "share", "pyvenv.cfg")
# Replaced by fresh ones inside, so what the target needs below them is mounted there by name.
REPLACED = ("/tmp", "/var/tmp", "/run", "/dev/shm")


def environment(options: Options, host: Mapping[str, str]) -> dict[str, str]:
    """The target's environment: the host's, less our own variables, with what is pinned and what was asked for."""
    kept = {name: value for name, value in host.items() if not name.startswith("BLACKSTART_")}
    return {**kept, **PINNED, "HOME": home(host), **options.env}


def home(host: Mapping[str, str]) -> str:
    """The home directory, `/` if there is none."""
    path = host.get("HOME", "")
    return os.path.realpath(path) if path and os.path.isdir(path) else "/"


def command(options: Options, host: Mapping[str, str]) -> Command:
    """The command, its program found as a shell would find it; TargetError if it cannot be executed."""
    if not options.command:
        raise BlackstartError(
            "there is no command to run",
            next_step="write it after two dashes, as in: blackstart run -- ./my-program ARGUMENTS",
        )
    env = environment(options, host)
    program = options.command[0]
    place = os.path.join(options.cwd, program) if "/" in program else shutil.which(program, path=env.get("PATH"))
    if place is None or not os.path.exists(place):
        step = "check its spelling, or give its path"
        if len(program.split()) > 1:
            step = f"this is one word; leave its quotes out, or let a shell read it: -- sh -c {shlex.quote(program)}"
        raise TargetError(f"there is no command {program!r}", where=options.cwd, next_step=step)
    if os.path.isdir(place):
        raise TargetError(f"{program!r} is a directory", where=place, next_step="name a program in it")
    if not os.access(place, os.X_OK):
        raise TargetError(
            f"{program!r} cannot be executed",
            where=place,
            next_step=f"chmod +x {program}, or name its interpreter",
        )
    interpreter = interpreter_of(place)
    if interpreter and not os.path.exists(interpreter):
        raise TargetError(
            f"{program!r} names an interpreter that is not there: {interpreter}",
            where=place,
            next_step="mend its first line, or name the interpreter on the command line",
        )
    if options.stdin and not os.path.isfile(_absolute(options, options.stdin)):
        raise BlackstartError("the file for --stdin does not exist", where=options.stdin, next_step="check the path")
    stdin = _absolute(options, options.stdin) if options.stdin else ""
    return Command(argv=options.command, cwd=os.path.realpath(options.cwd), env=env, stdin=stdin)


def zones_s(target: Command, at_s: float) -> tuple[int, ...]:
    """The time zones in which the target may write the time, in seconds east of UTC: its own, UTC, the host's."""
    found = [timedelta(0), datetime.fromtimestamp(at_s).astimezone().utcoffset()]
    with suppress(ValueError, OSError):  # no such zone, or one that is written out as a rule
        found.append(datetime.fromtimestamp(at_s, ZoneInfo(target.env.get("TZ", "UTC"))).utcoffset())
    return tuple(dict.fromkeys(int(offset.total_seconds()) for offset in found if offset is not None))


def interpreter_of(path: str) -> str:
    """The interpreter that a script's first line names in full; `` if it is no script, or cannot be read."""
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return ""
    words = first.removeprefix(b"#!").split()
    return os.fsdecode(words[0]) if first.startswith(b"#!") and words else ""


def scripts(paths: Iterable[str]) -> list[str]:
    """Those of these files that are programs for an interpreter."""
    return [path for path in paths if os.path.isfile(path) and interpreter_of(path)]


def check_command(options: Options, target: Command) -> Command | None:
    """`--check` as a shell command line in the target's directory and environment."""
    if not options.check:
        return None
    try:
        words = shlex.split(options.check)
    except ValueError as error:
        raise BlackstartError(
            f"--check cannot be read: {error}", where=options.check, next_step="close the quotation mark"
        ) from None
    if not words:
        raise BlackstartError("--check is empty", next_step="give a command that prints the state, or leave it out")
    return _shell(options.check, target)


def service(options: Options, target: Command, check: Command | None) -> Service | None:
    """How the service is reached and used; None where nothing says that it is one."""
    if not options.ready:
        if options.workload:
            raise BlackstartError(
                "--workload is for services", next_step=f"say how one sees that it is ready: --ready {FORMS}"
            )
        return None
    shell = partial(_shell, target=target)
    return Service(
        ready=parse_ready(options.ready, target.cwd),
        workload=shell(options.workload) if options.workload else None,
        check=shell(f"BLACKSTART_ACKNOWLEDGED=/proc/$$/fd/0; export BLACKSTART_ACKNOWLEDGED; {options.check}")
        if check
        else None,
    )


def companions(options: Options, target: Command) -> tuple[Command, ...]:
    """Each `--with` as a shell command line in the target's directory and environment."""
    return tuple(_shell(line, target) for line in options.companions)


def _shell(line: str, target: Command) -> Command:
    """A shell command line in the target's directory and environment."""
    return Command(argv=("/bin/sh", "-c", line), cwd=target.cwd, env=target.env)


def declared(options: Options) -> tuple[list[str], list[str]]:
    """(directories, files) of `--state`; a file stands for the directory it lies in, unless that is a large one."""
    found: dict[str, None] = {}
    alone: dict[str, None] = {}
    for path in options.state:
        whole = os.path.realpath(_absolute(options, path))
        if not os.path.lexists(whole):
            raise BlackstartError(
                "a state path does not exist",
                where=path,
                next_step="create it, or leave --state out: the first clean run finds where the program writes",
            )
        if os.path.isdir(whole):
            found[whole] = None
        elif is_large(os.path.dirname(whole)):
            alone[whole] = None
        else:
            found[os.path.dirname(whole)] = None
    return list(found), list(alone)


def layout(
    options: Options, target: Command, copies: Iterable[str], opened: tuple[str, ...], made: Iterable[str] = ()
) -> Layout:
    """The sandbox's layout: state directories as copies, overlays at the working directory, HOME and named places."""
    return Layout.of(
        cwd=target.cwd,
        home=target.env["HOME"],
        copies=tuple(dict.fromkeys(copies)),
        made=made,
        overlays=_named_places(target),
        omit=(os.path.join(target.cwd, DIRECTORY),),
        opened=opened,
    )


def closed(directories: Iterable[str], masker: Callable[[str], str]) -> tuple[str, ...]:
    """Those that none but their owner may enter, masked."""
    return tuple(masker(path) for path in directories if not os.stat(path).st_mode & 0o011)


def open_zygote(layout: Layout, isolation: str, plan: dict[str, Any] | None = None) -> Zygote:
    """A zygote that the ledger knows of, and its work area, so that `undo` ends it where our own end did not.

    plan: that of the zygote whose images it is to adopt.
    """
    if not _has_ledger(layout):
        return Zygote(layout, isolation=isolation, plan=plan)
    known, area = ledger(layout.cwd, os.getpid()), ""
    if isolation == LANDLOCK:  # its images lie on the machine's own disk
        area = known.work_area(f"{tempfile.gettempdir()}/blackstart-{os.urandom(8).hex()}")
    try:
        zygote = Zygote(layout, isolation=isolation, work_area=area, plan=plan)
    except BaseException:
        if area:
            known.release(area)
        raise
    try:
        known.process(zygote.pid)
    except BlackstartError:
        zygote.close()
        raise
    return zygote


def noted(layout: Layout) -> Noted:
    """What writes control groups down, so that `undo` removes them where our own end and their keeper's did not."""
    return ledger(layout.cwd, os.getpid()).group if _has_ledger(layout) else nullcontext


def _has_ledger(layout: Layout) -> bool:
    return os.path.isdir(os.path.join(layout.cwd, DIRECTORY))


@cache
def ledger(directory: str, writer: int) -> Ledger:
    """The ledger of that directory's runs; one for each writing process, which numbers its lines."""
    return Ledger(os.path.join(directory, DIRECTORY, LEDGER))


def _named_places(target: Command) -> list[str]:
    """What the command needs below a replaced place: the directory there in which its own files lie, whole.

    A program often reads its neighbours (a virtual environment, a library beside it), so not only its own directory.
    """
    program = shutil.which(target.argv[0], path=target.env.get("PATH")) or target.argv[0]
    places: dict[str, None] = {}
    for word in (target.cwd, program, *target.argv[1:]):
        path = os.path.normpath(os.path.join(target.cwd, word.rpartition("=")[2]))
        for shown in (path, os.path.realpath(path)):
            for replaced in REPLACED:
                first = shown.removeprefix(replaced + "/").partition("/")[0]
                if shown.startswith(replaced + "/") and os.path.isdir(os.path.join(replaced, first)):
                    places[os.path.join(replaced, first)] = None
    return list(places)


def state_directories(changed: Iterable[str]) -> tuple[list[str], list[str]]:
    """(directories, made): the existing host directories in which something changed, without the installation.

    made: what is new in a directory that is not small, and a file in one that is large. Copying all of a home for one
    file in it would cost each trial, or be refused, and nothing else in it is the program's.
    """
    found: dict[str, None] = {}
    made: dict[str, str] = {}
    small, large = cache(is_small), cache(is_large)
    for path in changed:
        new, directory = path, os.path.dirname(path)
        while not os.path.isdir(directory):
            new, directory = directory, os.path.dirname(directory)
        if directory in ("/", *REPLACED) or is_installation(path):
            continue
        is_alone = large(directory) if os.path.isfile(new) else not (os.path.lexists(new) or small(directory))
        if is_alone:
            made[new] = directory
        else:
            found[directory] = None
    inner = [d for d in found if not _is_below(d, found)]
    return sorted(inner), sorted(new for new, directory in made.items() if not _is_below(f"{directory}/", found))


def with_roots(
    directories: Iterable[str], made: Iterable[str], trace: Iterable[Operation]
) -> tuple[list[str], list[str]]:
    """(directories, made) as `state_directories` gives them; in place of some of them the one above, where a lock was
    made there that is gone again.

    What such a lock guards is one state: a kill leaves it there, and it must be seen, and put away, with the rest.
    """
    below = list(directories)
    locks = (o.path for o in trace if o.call in OPENING and o.flags & os.O_EXCL and o.flags & os.O_CREAT)
    gone = {os.path.dirname(path) for path in locks if not os.path.lexists(path)}
    roots = [d for d in gone if any(_is_below(one, [d]) for one in below) and _fits(d)]
    kept = sorted(d for d in {*below, *roots} if not _is_below(d, roots))
    return kept, [new for new in made if not _is_below(new, roots)]


def _fits(directory: str) -> bool:
    """Whether all that lies in it, as far as it can be read, is little enough to be copied."""
    size = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                size += max(os.lstat(os.path.join(place, name)).st_blocks * 512, _ENTRY_BYTES)
        if size > LIMIT_BYTES:
            return False
    return True


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(path != other and path.startswith(other.rstrip("/") + "/") for other in directories)


def read_directories(paths: Iterable[str], cwd: str) -> list[str]:
    """The directories below cwd in which a file of the program's was read, if they are small enough to be copied.

    Where nothing is written only these hold what can be damaged: a program's configuration.
    """
    found = {os.path.dirname(path) for path in paths if os.path.isfile(path) and not is_installation(path)}
    inside = sorted(d for d in found if d == cwd or d.startswith(cwd.rstrip("/") + "/"))
    return [directory for directory in inside if is_small(directory)]


def is_small(directory: str) -> bool:
    """Whether all of a directory is few files of few bytes, so that copying it costs next to nothing."""
    return _is_within(directory, SMALL_FILES, SMALL_BYTES)


def is_large(directory: str) -> bool:
    """Whether copying a directory would cost each trial more than all else."""
    return not _is_within(directory, LARGE_FILES, LARGE_BYTES)


def _is_within(directory: str, files: int, limit_bytes: int) -> bool:
    entries = size_bytes = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                size_bytes += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
        entries += len(names)
        if entries > files or size_bytes > limit_bytes:
            return False
    return True


def is_installation(path: str) -> bool:
    """Whether a path belongs to an installation: system directories, virtual environments, compiled byte code."""
    if path.startswith(INSTALLED) or "/__pycache__/" in path or path.endswith(".pyc"):
        return True
    directory, inside = os.path.split(path)
    while directory not in ("/", ""):
        if inside in _OF_ENVIRONMENTS and os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
            return True
        directory, inside = os.path.split(directory)
    return False


def _absolute(options: Options, path: str) -> str:
    return os.path.join(options.cwd, path)
