"""Breaks a twin without blackstart: strace makes each call on its files fail, or holds it back for a kill.

This is the ground truth for the twins: the judgement here knows the program (five deliveries, one more each run), so
it needs none of the calibration that blackstart has to do.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.twins.making import BOOK, book

BEFORE = 5
# Who wants no processor for so long hangs; the other one is for what never comes to that.
RESTING_S, PATIENCE_S = 3.0, 120.0
# Who has used so much of it spins: a clean run takes a tenth, strace included.
SPINNING_CPU_S = 3.0
LOOK_EVERY_S, HELD_ROUNDS, ASKED_EVERY_S = 0.02, 6, 0.25
# Not close: a call that strace makes fail is not carried out, and Linux closes even where close reports an error.
CALLS = "openat,read,write,fsync,rename,renameat,renameat2,unlink,unlinkat,flock,mkdir,rmdir"
REFUSED = {"openat": "ENOSPC", "write": "ENOSPC", "flock": "ENOLCK"}  # else EIO
LOCK = "deliveries.lock"
NAMES = (BOOK, f"{BOOK}.new", LOCK, ".")
# Of a file whose name is another one each time: whatever they are made on. Starting a program makes none of these.
ANY, ANY_CALLS = "", "write,fsync,rename,renameat,renameat2"


@dataclass(frozen=True)
class Point:
    """The n-th time that a process of the program makes this call on this file (ANY: on any)."""

    name: str
    call: str
    nth: int


@dataclass(frozen=True)
class Ending:
    code: int
    said: bytes
    hung: bool = False
    spins: bool = False


def members(group: int) -> list[list[str]]:
    """What the kernel says of each process of this group, from its state on."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            found.append(fields)
    return found


def runs(group: int) -> bool:
    """Whether a process of this group still has threads that run: until its last one is gone it holds its locks."""
    return any(fields[0] not in "ZX" or int(fields[17]) > 1 for fields in members(group))


def work(group: int) -> object:
    """What changes as long as a process of this group wants the processor, be it that it does not get it."""
    now = members(group)
    return time.monotonic() if any(fields[0] in "RD" for fields in now) else sorted(fields[11:15] for fields in now)


def used_cpu_s(group: int) -> float:
    """How much of the processor this group has used, with the children that it waited for."""
    return sum(int(ticks) for fields in members(group) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """All of it: strace is gone before those that it traced are."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + PATIENCE_S
    while runs(process.pid) and time.monotonic() < end:
        time.sleep(0.001)


def held(tracer: int) -> bool:
    """Whether a descendant stands still in the tracer's hand though that is not about to let it go on."""
    try:
        at_rest = Path(f"/proc/{tracer}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    except (FileNotFoundError, ProcessLookupError):
        return False
    return at_rest and stopped(tracer)


def stopped(process: int) -> bool:
    """Whether a thread of a descendant stands still."""
    try:
        children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        threads = [path for child in children for path in Path(f"/proc/{child}/task").glob("[0-9]*/stat")]
        states = [thread.read_text().rpartition(")")[2].split()[0] for thread in threads]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "t" in states or any(map(stopped, children))


def start_until_held(command: list[str], directory: Path) -> None:
    """Run until a call is held back for longer than any clean one is, then kill all processes."""
    process = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    seen = 0
    end = time.monotonic() + PATIENCE_S
    while seen < HELD_ROUNDS and time.monotonic() < end:
        try:
            process.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            seen = seen + 1 if held(process.pid) else 0
        else:
            return
    end_group(process)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit status, or None where it hangs or spins: however slow the machine, not while it wants to go on."""
    begun = since = time.monotonic()
    earlier: object = None
    while since + RESTING_S > time.monotonic() and time.monotonic() < begun + PATIENCE_S:
        try:
            return process.wait(ASKED_EVERY_S)
        except subprocess.TimeoutExpired:
            if used_cpu_s(process.pid) >= SPINNING_CPU_S:
                return None
            now = work(process.pid)
            if now != earlier:
                since, earlier = time.monotonic(), now
    return None


def start(command: list[str], directory: Path) -> Ending:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        code = ended(process)
        if code is None:
            spins = used_cpu_s(process.pid) >= SPINNING_CPU_S
            end_group(process)
            return Ending(code=-signal.SIGKILL, said=b"", hung=not spins, spins=spins)
        said.seek(0)
        return Ending(code=code, said=said.read())


def strace(directory: Path, name: str, *options: str) -> list[str]:
    """With the path in both forms: strace compares names as the program wrote them, descriptors by the whole path."""
    paths = () if name == ANY else (f"-P{name}", f"-P{os.path.normpath(directory / name)}")
    return ["strace", "-f", "--quiet=all", *paths, *options]


def points(
    command: list[str], directory: Path, names: tuple[str, ...], run: Callable[[list[str], Path], object]
) -> list[Point]:
    """Every call on the files in a clean run, which `run` makes."""
    found = []
    for name in names:
        fresh(directory)
        log = directory.with_suffix(".trace")
        calls = ANY_CALLS if name == ANY else CALLS
        run([*strace(directory, name, "-o", str(log), "-e", f"trace={calls}"), *command], directory)
        seen = Counter(re.findall(r"^(\d+)\s+(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
        log.unlink()
        counts: Counter[str] = Counter()
        for (_, call), count in seen.items():
            counts[call] = max(counts[call], count)
        found += [Point(name, call, nth) for call, count in sorted(counts.items()) for nth in range(1, count + 1)]
    return found


def deliveries(directory: Path) -> int:
    """How many deliveries the book holds; -1 if it is damaged, -2 if it is gone."""
    try:
        content = (directory / BOOK).read_bytes()
    except FileNotFoundError:
        return -2
    count = content.count(b"\n") - 2
    return count if content == book(count) else -1


def after_restart(command: list[str], directory: Path) -> str:
    """What the next start makes of the state: a consequence, or nothing."""
    restart = start(command, directory)
    if restart.code == 0:
        return "" if deliveries(directory) in (BEFORE + 1, BEFORE + 2) else "lost"
    if restart.hung or restart.spins:
        return "hung" if restart.hung else "spinning"
    if restart.code < 0:
        return "crashed"
    lock = directory / LOCK
    if lock.is_dir():
        lock.rmdir()
    else:
        lock.unlink(missing_ok=True)
    return "stuck" if start(command, directory).code == 0 else "corrupt"


def failing(directory: Path, point: Point, lasting: str = "") -> list[str]:
    """What makes the call fail once, or, with "+", from then on."""
    inject = f"inject={point.call}:error={REFUSED.get(point.call, 'EIO')}:when={point.nth}{lasting}"
    return strace(directory, point.name, "-o", "/dev/null", "-e", inject)


def fail(command: list[str], directory: Path, point: Point, lasting: str = "") -> str:
    ending = start([*failing(directory, point, lasting), *command], directory)
    if ending.hung or ending.spins:
        return "hung" if ending.hung else "spinning"
    if ending.code < 0 or ending.code in (128 + signal.SIGSEGV, 128 + signal.SIGBUS):
        return "crashed"
    kept = deliveries(directory)
    if ending.code == 0 and kept != BEFORE + 1 and not (ending.said and kept == BEFORE):
        return "lost" if ending.said else "silent"
    return after_restart(command, directory) or ("leaked" if others(directory) else "")


def others(directory: Path) -> list[str]:
    """What stands there under names that are other ones each time."""
    return [entry.name for entry in directory.iterdir() if entry.name not in NAMES]


def kill(command: list[str], directory: Path, point: Point) -> str:
    """The call is held back, and all processes are killed meanwhile; that it may leave one more file is no failure."""
    start_until_held([*holding(directory, point), *command], directory)
    return after_restart(command, directory)


def fail_from_then_on(command: list[str], directory: Path, point: Point) -> str:
    return fail(command, directory, point, "+")


def holding(directory: Path, point: Point) -> list[str]:
    """What holds the call back, for a kill meanwhile."""
    inject = f"inject={point.call}:delay_enter=20s:when={point.nth}"
    return strace(directory, point.name, "-o", "/dev/null", "-e", inject)


def consequences(
    command: list[str], work: Path, names: tuple[str, ...] = NAMES, *, is_lasting: bool = False
) -> Counter[str]:
    """How often each consequence came about, over every point, once by an error and once by a kill; is_lasting: and
    once by an error that stays, from the first of a kind of call on.
    """
    found: Counter[str] = Counter()
    work.mkdir()
    places = points(command, work, names, start)
    for point in places:
        for break_it in (fail, kill, fail_from_then_on)[: 3 if is_lasting and point.nth == 1 else 2]:
            fresh(work)
            consequence = break_it(command, work, point)
            if consequence:
                found[consequence] += 1
    return found


def fresh(directory: Path) -> None:
    """Nothing but a book with five deliveries."""
    for entry in directory.iterdir():
        if entry.is_dir():
            entry.rmdir()
        else:
            entry.unlink()
    (directory / BOOK).write_bytes(book(BEFORE))
