"""What somebody without blackstart reads and runs: a finding's story as text, and the script that starts the program.

Pure. Times are left out but where they are the finding, so that the same failure gives the same text.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from blackstart.core.frames import shown_frame
from blackstart.core.history import DEADLINE, EXITED, KILLED, STOPPED, History, Life, Run, Wait
from blackstart.core.options import Options
from blackstart.core.reading import FileState, Image
from blackstart.core.units import plural
from blackstart.core.waiting import BLOCKED, BUSY, KEPT, REPEATING, TIMED
from blackstart.report.archive import LeftOut
from blackstart.report.text import plain, shell_line

BEFORE, BROKEN, AFTER, OUTPUTS = "before", "broken", "after", "outputs"
README, START, REPORT = "README.txt", "start.sh", "report.json"
LINES_MAX, PATHS_MAX, FRAMES_MAX = 5, 20, 12
# What a kind of fault is, for who has never heard of it.
KINDS_IN_WORDS = {
    "errno": "the operating system refused a call of the program, as it can whenever a disk or a permission fails",
    "kill": "the whole program was killed (SIGKILL) at that place, and started again",
    "signal": "the program was sent a signal",
    "file": "a file that the program reads was damaged before it started",
    "db": "a database of the program was locked by another process, or damaged",
    "power": "the power went: what was not yet on the disk by then was lost; the program was then started again",
    "disk": "the disk was full",
    "limit": "the system gave the program no more of something",
    "kill-one": "one child of the program was killed, and the others lived on",
    "time": "the clock jumped while the program ran",
    "link": "the network between the program and another one was impaired",
    "peer": "another program that this one is connected to failed",
    "dns": "a name was not found, or found wrong",
    "clients": "whoever uses the program did it badly",
}
# A pipe has another number each time.
_NUMBERED = re.compile(r"^(pipe|socket|anon_inode):\[[^]]*\]$")
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ON_DISK = ("lost", "corrupt", "stuck", "leaked")
_STATES_IN_WORDS = {
    BEFORE: "the state before anything was broken",
    BROKEN: "the state as the fault left it, before the program was started again",
    AFTER: "the state after the last start, for which nothing was broken any more",
}
_DAMAGED_IN_WORDS = {
    BROKEN: "the state with the damage that was done to it, before the program was started",
    AFTER: "the state that the last start left, which found that damage",
}


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """All that is handed over but the files themselves.

    finding: as the report holds it; cwd, home: where the program ran; env: what was set for it; good: how a clean run
    ends; roots: state directories; states: which of them are there; damaged: whether the fault was damage to the state,
    done before the start; images: what stood in them, as probes read it; left_out: what is not in the archive; inject,
    path: how strace breaks the same call (`CALL:ACTION:when=N`), and on which path; empty where it cannot.
    """

    finding: dict[str, Any]
    options: Options
    history: History
    cwd: str
    good: tuple[int, ...] = (0,)
    home: str = "/"
    env: dict[str, str] = {}
    roots: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    damaged: bool = False
    images: dict[str, Image] = {}
    left_out: tuple[LeftOut, ...] = ()
    inject: str = ""
    path: str = ""

    @property
    def starts(self) -> list[Run]:
        """The starts of the program, in order; the look at what was damaged before them is none."""
        return [run for run in self.history.runs if run.phase != "before"]

    @property
    def fails_at_start(self) -> Run | None:
        """The last start, if it failed although nothing was broken any more (or the state was all that was)."""
        last = self.starts[-1] if self.starts else None
        is_again = last is not None and (self.damaged or last.phase.startswith("restart"))
        if last is None or not is_again or last.end.how == STOPPED:
            return None
        return None if last.end.how == EXITED and last.end.code in self.good else last


def readme(over: Handover) -> str:
    """The text that opens the archive."""
    finding = over.finding
    title = plain(f"{finding.get('id', '')}: {finding.get('consequence', '')} ({finding.get('severity', '')})")
    parts: list[tuple[str, list[str]]] = [
        ("The program", list(_program(over))),
        ("What was broken", list(_broken(over))),
        ("What was seen", [str(line) for line in finding.get("evidence", ())] + _reproduced(finding)),
        ("What the program did", [line for run in over.starts for line in _run_in_words(run)] + _resets(over.history)),
        ("What lies here", list(_contents(over))),
        ("How to see it", list(_seeing(over))),
        ("What to do", [str(finding.get("advice", ""))]),
        ("With blackstart", _replay(over)),
        ("Left out", [f"{one.name}: {one.why}" for one in over.left_out[:PATHS_MAX]] + _more(over.left_out)),
    ]
    lines = [title, "=" * len(title), ""]
    for heading, told in parts:
        if any(told):
            lines += [heading, "-" * len(heading), *(plain(line) for line in told), ""]
    return "\n".join(lines)


def start_script(over: Handover) -> str:
    """A POSIX script that starts the program on one of the states, where it was unpacked."""
    argv, options = over.options.command, over.options
    home = _moved(over.home, over) if any(_holds(over.home, root) for root in over.roots) else ""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in over.env.items() if _NAME.fullmatch(name)]
    stdin = '"$here/stdin"' if options.stdin else "/dev/null"
    by = " [strace]" if over.inject else ""
    default = BROKEN if BROKEN in over.states else BEFORE
    return f"""#!/bin/sh
# Starts the program on a state of this archive: sh {START} [{" | ".join(over.states)}]{by}
# It changes that state: unpack the archive again before the next attempt.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 126
state=$here/${{1:-{default}}}
by=$2
cd -- "$state"{shlex.quote(over.cwd)} || exit 126
{"".join(f"{line}{chr(10)}" for line in exports)}{f"export HOME={home}{chr(10)}" if home else ""}\
program=${{PROGRAM:-{_moved(argv[0], over)}}}
command -v -- "$program" >/dev/null || {{
    echo "$program is not installed here; say where it is: PROGRAM=... sh {START}" >&2
    exit 127
}}
set --
{_strace(over)}\
exec "$@" "$program" {" ".join(_moved(word, over) for word in argv[1:])} <{stdin}
"""


def _strace(over: Handover) -> str:
    """The lines that let strace break the call; its path as a whole and as the program may name it from where it is."""
    if not over.inject:
        return ""
    call = over.inject.partition(":")[0]
    relative = shlex.quote(os.path.relpath(over.path, over.cwd))
    options = f"-f -qq -o /dev/null -e trace={shlex.quote(call)} -e {shlex.quote(f'inject={over.inject}')}"
    line = f"set -- strace {options} -P {_moved(over.path, over)} -P {relative} --"
    return f'[ "$by" != strace ] || {line}\n'


def outputs_of(over: Handover) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all that the program, its workload and its check said in each start."""
    for number, run in enumerate(over.starts, 1):
        name = f"{OUTPUTS}/{number}-{run.phase}"
        for stream in ("stdout", "stderr"):
            yield f"{name}.{stream}", run.text(stream)
        if run.life is not None and run.life.asked:
            lines = "".join(f"{act.how} {act.id}\n" for act in run.life.asked)
            yield f"{name}.workload", lines.encode("utf-8", "surrogateescape")
        for reading in run.readings:
            answer = f"{reading.value}{reading.error}\n"
            yield (
                f"{name}.{'check' if reading.name == 'check' else 'reading'}",
                answer.encode("utf-8", "surrogateescape"),
            )


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Whether a path is one of these directories, or lies in one."""
    return any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots)


def _holds(directory: str, path: str) -> bool:
    """Whether one of the two lies in the other."""
    return is_below(directory, (path,)) or is_below(path, (directory,))


def _moved(word: str, over: Handover) -> str:
    """A word for the shell; a path into the state, also after `=`, leads to where it was unpacked."""
    option, sign, value = word.partition("=") if not word.startswith("/") else ("", "", word)
    path = value if sign or not option else word
    is_home = path == over.home and any(_holds(path, root) for root in over.roots)
    if path.startswith("/") and (is_home or is_below(path, over.roots)):
        return f'{shlex.quote(option + sign) if sign else ""}"$state"{shlex.quote(path)}'
    return shlex.quote(word)


def _program(over: Handover) -> Iterator[str]:
    options = over.options
    yield f"command: {shell_line(options.command)}"
    yield f"started in: {over.cwd} (written $CWD below)"
    yield f"home: {over.home} (written $HOME below)"
    if options.stdin:
        yield f"reads: {options.stdin}, which lies here as stdin"
    for label, line in (("ready when", options.ready), ("used by", options.workload), ("asked by", options.check)):
        if line:
            yield f"{label}: {line}"
    yield from (f"needs: {line}" for line in options.companions)


def _broken(over: Handover) -> Iterator[str]:
    finding = over.finding
    yield str(finding.get("fault", ""))
    kind = str(finding.get("kind", ""))
    if kind in KINDS_IN_WORDS:
        yield f"That is: {KINDS_IN_WORDS[kind]}."
    if finding.get("where"):
        yield f"where: {finding['where']}"
    if "@" in str(finding.get("fault", "")):
        yield "(@2 is the second time that the program makes this call on this path.)"
    stack = [shown_frame(str(frame)) for frame in finding.get("stack", ())]
    stack = stack or [
        shown_frame(frame) for one in over.history.injected if one.operation for frame in one.operation.site
    ]
    if stack:
        yield "The program was just there, innermost first:"
        yield from (f"    {frame}" for frame in stack[:FRAMES_MAX])


def _reproduced(finding: Mapping[str, Any]) -> list[str]:
    counted = finding.get("reproduced")
    return [f"It was tried again after it was found, and failed {counted} times."] if counted else []


def _run_in_words(run: Run) -> Iterator[str]:
    end = run.end
    how = {
        EXITED: f"it ended with exit status {end.code}",
        STOPPED: "it ran until it was told to stop, and did",
        KILLED: "it was ended by the fault",
        DEADLINE: "it did not end",
    }.get(end.how, f"it was ended by signal {end.signal}")
    yield f"{run.phase}: {how}"
    if end.wait is not None:
        yield f"    {wait_in_words(end.wait)}"
    if run.life is not None:
        yield from (f"    {line}" for line in _life_in_words(run.life))
    for stream in ("stdout", "stderr"):
        lines = run.text(stream).decode("utf-8", "surrogateescape").strip().splitlines()
        yield from (f"    {stream}: {line}" for line in lines[-LINES_MAX:])
    for reading in run.readings:
        yield from (f"    {reading.name}: {line}" for line in (reading.value or reading.error).splitlines()[:LINES_MAX])
    yield from (f"    still alive afterwards: {line}" for line in run.left)


def wait_in_words(wait: Wait) -> str:
    """What a program that does not end is doing."""
    path = _NUMBERED.sub(r"\1", wait.path)
    place = f"{wait.call or 'a call'}{f' on {path}' if path else ''}"
    limit = f", with a limit of {wait.limit_s:.1f} s" if wait.limit_s else ""
    return {
        BLOCKED: f"it waits in {place}, without a limit",
        TIMED: f"it waits in {place}{limit}",
        KEPT: f"it waits in {place}, on a connection that TCP gives up once the machine of its peer is gone",
        REPEATING: f"it waits in {place} again and again{limit}, and gets no further",
        BUSY: f"it makes {place} again and again, without a rest, and gets no further"
        if wait.rounds
        else f"it uses {wait.cpu:.0%} of a processor and gets no further",
    }.get(wait.state, f"it still works ({place})")


def _life_in_words(life: Life) -> Iterator[str]:
    if life.ready_s < 0:
        yield "it was never ready"
        return
    counts = {how: sum(act.how == how for act in life.acts) for how in ("ok", "fail", "info")}
    if life.acts:
        ok, refused, open_ = counts["ok"], counts["fail"], counts["info"]
        yield f"it was ready; of what was asked, {ok} ok, {refused} refused, {open_} without an answer"
    else:
        yield "it was ready"
    if life.fired_s >= 0 and life.healed_s >= 0:
        yield "after nothing was broken any more it was " + ("ready again" if life.again_s >= 0 else "not ready again")
    if life.again:
        yield f"used once more after that: {sum(act.how == 'ok' for act in life.again)} of {len(life.again)} ok"
    for name, moments in sorted(life.effects.items()):
        yield f"by itself it did {name} {plural(len(moments), 'time')} after that"
    if life.held_up is not None:
        yield f"told to stop, it did not in time: {wait_in_words(life.held_up)}"


def _resets(history: History) -> list[str]:
    found = []
    for one in history.resets:
        if one.helped:
            removed = [f"{path} is removed" for path in one.removed]
            put_back = [f"{path} is again as it was in {BEFORE}/" for path in one.put_back]
            found.append(f"it starts again once {' and '.join(removed + put_back)}")
    return found


def _contents(over: Handover) -> Iterator[str]:
    for state in over.states:
        words = _STATES_IN_WORDS[state]
        if over.damaged and state != BEFORE:
            words = _DAMAGED_IN_WORDS[state]
        yield f"{state}/: {words}"
    if over.states:
        yield "    (there all files lie by their paths on the machine)"
    yield f"{OUTPUTS}/: all that the program printed in each start"
    yield f"{REPORT}: the finding as data"
    for one, other in zip(over.states, over.states[1:], strict=False):
        changed = list(differences(over.images.get(one, {}), over.images.get(other, {})))
        if changed:
            yield f"From {one}/ to {other}/:"
            yield from (f"    {line}" for line in changed[:PATHS_MAX])
            yield from (f"    {line}" for line in _more(changed))


def differences(before: Image, after: Image) -> Iterator[str]:
    """What became of each path, a line each."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            yield f"{path}: new{_size(new)}"
        elif new is None:
            yield f"{path}: gone"
        elif old is not None and (old.kind, old.digest, old.target) != (new.kind, new.digest, new.target):
            yield f"{path}: changed, {old.size} to {plural(new.size, 'byte')}"
        elif old is not None and old.mode != new.mode:
            yield f"{path}: its mode was {old.mode & 0o7777:04o} and is {new.mode & 0o7777:04o}"


def _size(file: FileState) -> str:
    return f", {plural(file.size, 'byte')}" if file.kind == "file" else f", a {file.kind}"


def _seeing(over: Handover) -> Iterator[str]:
    failing = over.fails_at_start
    paths = [str(path) for path in over.finding.get("paths", ())]
    if failing is not None:
        yield f"sh {START}"
        yield f"starts the program on {BROKEN}/, where it fails as above ({failing.phase})."
        yield f"`sh {START} {BEFORE}` starts it on {BEFORE}/, where it works."
    elif over.finding.get("consequence") in _ON_DISK or (paths and over.finding.get("kind") == "power"):
        where = ", ".join(paths) or "the files"
        yield f"Compare {where} in {BROKEN}/ with {BEFORE}/, and with what the program said in {OUTPUTS}/."
        yield f"sh {START} starts the program on {BROKEN}/."
    else:
        yield "It does not show on the disk: it was seen while the program ran, as told above and in outputs/."
        yield f"sh {START} {BEFORE} starts the program as it was before, with nothing broken."
    yield "A start changes the state there: unpack again for the next attempt."
    if over.inject:
        yield f"sh {START} {BEFORE} strace"
        yield "lets strace, if it is installed, break that call there: it alone, counted for each thread apart."
    if over.options.ready:
        yield "It keeps running: use it meanwhile as told above (used by, asked by), and end it with Ctrl-C."
    if over.options.companions:
        yield "First start what it needs."
    if not is_below(over.cwd, over.roots):
        yield f"Only the state is here: first put the program's own files into {BROKEN}{over.cwd}/, beside it."
    else:
        yield "What the program needs beyond this directory (its interpreter, libraries) must be installed."
    outside = [root for root in over.roots if not _holds(over.cwd, root) and not _holds(over.home, root)]
    if outside:
        yield f"It may look for {', '.join(outside)} by that path: put those from {BROKEN}/ there, best in a container."


def _replay(over: Handover) -> list[str]:
    identity = str(over.finding.get("id", ""))
    line = shell_line(("blackstart", "replay", f"PATH/{REPORT}#{identity}"))
    return ["In the directory of the program, PATH being where this was unpacked:", f"    {line}"]


def _more(items: Sequence[object]) -> list[str]:
    return [f"and {len(items) - PATHS_MAX} more"] if len(items) > PATHS_MAX else []
