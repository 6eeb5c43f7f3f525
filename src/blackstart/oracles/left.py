"""What does the target leave behind that adds up, or that others may read?

One stale file after a kill is no failure, and a pool that is made on first use is none. So an ordinary trial only gives
a suspicion: something stands there, or is held, that clean runs do not leave. Then the same is done several times, and
as often without the fault. It fails if each round left one more, none of which is gone after a clean start or with the
time, and the rounds without the fault leave none. What clean runs never make (a report of an error, a file set aside)
is the target's own affair. One more file for each SIGKILL is noted only: nobody can tidy up while being killed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import EXITED, KILLED, SIGNALED, History, Round, Rounds, Run
from blackstart.core.masking import Masker
from blackstart.core.reading import FileState
from blackstart.core.trace import FORKS
from blackstart.core.verdict import DEFECT, NOTE, READ_BY_OTHERS, Verdict, failed, passed
from blackstart.oracles.view import DAMAGE_KINDS, View

NAME = "left"
FIRED_MIN = 4
# Less may be the memory that a language's runtime takes anyway.
GROWN_MIN_BYTES, MEMORY_MORE_BYTES = 256 << 10, 8 << 20
_OTHERS_READ, _OTHERS_ENTER = 0o044, 0o011
_SECRET = re.compile(r"pass(?:word|wd|phrase)|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_VALUE = re.compile(r"(?<=[:=])\s*\S.*$")
SECRET_MIN, WORD_MIN = 6, 12
_NAMED_MAX = 3
_COUNTED = ("processes", "threads", "descriptors")
_WHO_ASKS = ("signal", "kill")
# SIGKILL, whoever of it gets it, and what the kernel sends at a limit (SIGXCPU, SIGXFSZ), which hardly anybody handles:
# what was begun then cannot be taken back.
_KILLS, _KILLING = ("kill", "kill-one"), (9, 24, 25)
_REMOVING = ("unlink", "unlinkat")
_STARTING = ("execve", "execveat")


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`leaked`: what adds up, and secrets that others may read."""
    view = View(history, calibration)
    found = [*_secrets(view)]
    if history.rounds is not None:
        found += [*_piled(view, history.rounds), *_orphans(view, history.rounds), *_grown(history.rounds)]
    return tuple(found) or (passed(NAME),)


def suspicion(history: History, calibration: Calibration) -> str:
    """What this trial left that may add up, by name; `` where there is nothing to be tried again."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS or not any(one.fired for one in history.injected):
        return ""
    last = view.restarts[-1] if view.restarts else view.first
    if last is None or view.clean is None:
        return ""
    names = {view.masker(path) for path in last.image}
    gone = _made_and_gone(view) if any(_differs(name) for name in names) else set()
    if stale := sorted(name for name in (names & gone) - _kept_by_fault(view) if _differs(name)):
        # Apart, as a note on those of a kill must not keep an error that leaves the same from being tried.
        return ("files of a kill " if _is_killed(view) else "files ") + " ".join(stale)
    first = view.first
    if first is None:
        return ""
    if first.life is None:
        is_left = bool(first.left) and not view.clean.left and first.end.how == EXITED
        return "processes" if is_left and history.kind not in _WHO_ASKS else ""
    grown = _more(first, view.clean)
    where = next((one.operation.masked for one in history.injected if one.operation is not None), "")
    return f"{grown} {history.kind} {where}" if grown else ""


def _more(run: Run, clean: CleanRun) -> str:
    """What a service held more of than in a clean run when it was told to stop."""
    assert run.life is not None
    if clean.life is None or run.life.stop_s < 0 or run.life.healed_s < 0:
        return ""
    now, then = run.life.census, clean.life.census
    names = [name for name in _COUNTED if getattr(now, name) > getattr(then, name)]
    if not names and now.memory_bytes > then.memory_bytes + MEMORY_MORE_BYTES:
        return "memory"
    return " ".join(names)


def _is_killed(view: View) -> bool:
    """Whether something of the target was ended by SIGKILL, be it for want of memory, or at a limit; a job also by the
    default action of a signal that it does not handle.
    """
    kind, first = view.history.kind, view.first
    if kind in _KILLS or first is None:
        return kind in _KILLS
    is_default = kind == "signal" and not view.calibration.is_service
    return first.end.how == SIGNALED and (first.end.signal in _KILLING or is_default)


def _kept_by_fault(view: View) -> set[str]:
    """What is left because its own removal was what failed, by masked path.

    So it did where a program that removes it could not be started: that very one, or the next ones, too.
    """
    kept = set()
    for injected, operation in ((one, one.operation) for one in view.history.injected if one.operation is not None):
        if operation.call in _REMOVING:
            kept.add(operation.masked)
        elif operation.call in FORKS:
            place = (operation.call, operation.nth)
            others = ((path, made) for run in view.calibration.chain for path, made in _removed_by_others(run))
            kept |= {path for path, made in others if injected.fired > 1 or made == place}
    return kept


def _removed_by_others(run: CleanRun) -> Iterator[tuple[str, tuple[str, int]]]:
    """(masked path, the call that made the process) of files that another program removes, such as `rm`."""
    fork, made = ("", 0), dict[int, tuple[str, int]]()
    for one in run.trace:
        if one.call in FORKS:
            fork = one.call, one.nth
        elif one.call in _STARTING and fork[0]:
            made.setdefault(one.process, fork)
        elif one.call in _REMOVING and one.process in made:
            yield one.masked, made[one.process]


def _differs(masked: str) -> bool:
    """Whether the name may be another one each time: of one that never changes there is never more than one."""
    return "*" in masked or any(map(str.isdigit, os.path.basename(masked)))


def _made_and_gone(view: View) -> set[str]:
    """What clean runs make and take away again, by masked path."""
    chain = view.calibration.chain
    made = {o.masked for run in chain for o in run.trace if o.changes and o.masked}
    return made - {path for run in chain for path in run.files}


def _piled(view: View, rounds: Rounds) -> Iterator[Verdict]:
    """Files of which each round left one more."""
    new = _new(view, rounds.faulty, frozenset(rounds.end))
    anyway = _new(view, rounds.null, None)
    gone = _made_and_gone(view)
    for key in sorted((set().union(*new) & gone) - _kept_by_fault(view)) if new else ():
        fired = [names[key] for one, names in zip(rounds.faulty, new, strict=True) if one.fired and key in names]
        acted = sum(one.fired for one in rounds.faulty)
        if acted < FIRED_MIN or len(fired) < acted or any(key in names for names in anyway):
            continue
        each = max(map(len, fired))
        is_noted = each == 1 and _is_killed(view)
        shown = ", ".join(view.masker.path(os.path.dirname(path)) + "/" + os.path.basename(path)
                          for path in [path for paths in fired for path in paths][:_NAMED_MAX])  # fmt: skip
        when = f"killed at such a moment {acted} times, it leaves" if is_noted else f"each of {acted} times it leaves"
        text = f"{when} {'one more file' if each == 1 else f'{each} more files'} {key}: {shown} …"
        tidied = "a clean start does not remove them, nor one a month later; without the fault none is left"
        yield failed(NAME, "leaked", text, tidied, paths=(key,), label=NOTE if is_noted else DEFECT)


def _new(view: View, rounds: Sequence[Round], stays: frozenset[str] | None) -> list[dict[str, list[str]]]:
    """For each round: masked path -> the paths first seen after it (that stay)."""
    known: set[str] = set()
    found: list[dict[str, list[str]]] = []
    for one in rounds:
        fresh: dict[str, list[str]] = {}
        for path in one.paths:
            if path not in known and (stays is None or path in stays):
                fresh.setdefault(view.masker(path), []).append(path)
        known.update(one.paths)
        found.append(fresh)
    return found


def _orphans(view: View, rounds: Rounds) -> Iterator[Verdict]:
    """Processes that go on after a job has ended by itself."""
    acted = [one for one in rounds.faulty if one.fired]
    if len(acted) < FIRED_MIN or not all(one.left for one in acted) or any(one.left for one in rounds.null):
        return
    if view.history.kind in _WHO_ASKS:
        return
    named = "; ".join(command[:80] for command in acted[0].left[:_NAMED_MAX])
    yield failed(NAME, "leaked", f"each of {len(acted)} times it has ended, and processes of its own go on: {named}")


def _grown(rounds: Rounds) -> Iterator[Verdict]:
    """What a living service holds more of after each round."""
    if rounds.census is None or not all(one.fired for one in rounds.faulty) or len(rounds.null) < FIRED_MIN:
        return
    told = []
    for name in _COUNTED:
        seen = [getattr(one.census, name) for one in rounds.faulty]
        null = [getattr(one.census, name) for one in rounds.null]
        if _rises(seen, 1) and getattr(rounds.census, name) >= seen[-2] and not null[-1] > null[1]:
            told.append(f"{name} {' → '.join(map(str, seen))} (without the fault {null[0]} → {null[-1]})")
    seen = [one.census.memory_bytes for one in rounds.faulty]
    null = [one.census.memory_bytes for one in rounds.null]
    steady = 4 * max(null[-1] - null[1], 0) < seen[-1] - seen[1]
    if not told and _rises(seen, GROWN_MIN_BYTES) and rounds.census.memory_bytes >= seen[-2] and steady:
        told.append(f"memory {' → '.join(f'{value >> 20} MB' for value in seen)}")
    if told:
        yield failed(NAME, "leaked", f"after each of {len(seen)} rounds of fault and healing it holds more: {told[0]}",
                     *told[1:])  # fmt: skip


def _rises(seen: Sequence[int], step: int) -> bool:
    """Whether each round but the first, in which pools are made, added as much at least."""
    later = seen[1:] if len(seen) > FIRED_MIN + 1 else seen
    return len(later) > FIRED_MIN and all(b - a >= step for a, b in pairwise(later))


def _secrets(view: View) -> Iterator[Verdict]:
    """What none but the owner may read, in a file that others may, after the last start or where it was killed: there
    it stays until the next one, and who is killed before the `chmod` has shown it a moment before in any case.
    """
    runs = [run for run in view.history.runs if run.image]
    if not runs or view.history.kind in DAMAGE_KINDS or not any(one.fired for one in view.history.injected):
        return
    private_ones = list(_private(view))
    if not private_ones:
        return
    looked_at = runs if len(runs) < 2 else [*runs[: runs[0].end.how == KILLED], runs[-1]]
    open_now = {
        view.masker(path): state for run in looked_at for path, state in run.image.items()
        if _is_open(state, run, view.calibration, view.masker)
    }  # fmt: skip
    stood = [state for clean in view.calibration.chain for state in clean.files.values()]
    stood += [found[0] for clean in view.calibration.chain for found in clean.versions.values() if found and found[0]]
    open_then = [_text(state) for state in stood if state.kind == "file" and state.mode & _OTHERS_READ]
    for path, state in open_now.items():
        text = _text(state)
        held = [private for private, words in private_ones if all(word in text for word in words)
                and not any(word in other for other in open_then for word in words)]  # fmt: skip
        if held:
            what = f"{path}{READ_BY_OTHERS} (mode {state.mode:03o}) and holds what stands in {held[0]}"
            yield failed(NAME, "leaked", f"{what}, which only its owner may read", paths=(path,))


def _private(view: View) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(masked path, words that nobody else should hold together) of files that clean runs keep from others."""
    stood = [(path, state) for clean in view.calibration.chain for path, state in clean.files.items()]
    shown = {path for path, state in stood if state.mode & 0o077}  # at times others may read it anyway
    for path, state in stood:
        if state.kind == "file" and path not in shown:
            yield from ((path, words) for words in _words(state))


def _words(state: FileState) -> Iterator[tuple[str, ...]]:
    """Each value of a place that is named like a secret; without any, all that are too long to occur by chance."""
    leaves = state.content.leaves if state.content is not None else ()
    named = [value for place, value in leaves if _SECRET.search(place)]
    named += [match[0] for _, text in leaves if _SECRET.search(text) and (match := _VALUE.search(text))]
    plain = [value.strip().strip("\"'") for value in named]
    secrets: list[tuple[str, ...]] = [(value,) for value in plain if len(value) >= SECRET_MIN and "*" not in value]
    together = tuple(value for _, value in leaves if len(value) >= WORD_MIN and "*" not in value)
    yield from secrets or ([together] if together else ())


def _text(state: FileState) -> str:
    leaves = state.content.leaves if state.content is not None else ()
    return "\n".join(value for _, value in leaves)


def _is_open(state: FileState, run: Run, calibration: Calibration, masker: Masker) -> bool:
    """Whether others can read it: by its own mode, and no directory known on the way keeps them out."""
    if state.kind != "file" or not state.mode & _OTHERS_READ:
        return False
    above = list(_above(state.path))
    entries = (run.image.get(directory) for directory in above)
    if any(entry is not None and not entry.mode & _OTHERS_ENTER for entry in entries):
        return False
    return not any(masker(directory) in calibration.closed for directory in above)


def _above(path: str) -> Iterable[str]:
    while (path := os.path.dirname(path)) not in ("/", ""):
        yield path
