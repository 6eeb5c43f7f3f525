"""How did the target end while the fault was there: hung, crashed, or silently without having done its work?

Failing is allowed: a non-zero exit with a message on a full disk is good behaviour, and so is dying on purpose, as long
as it starts again. A job that ends with 0 claims its last version. A state or output file short of it is `silent` if
nothing was said. If something was, the exit status alone is wrong: a note where what stood there before still does,
`unclean` where a new file is left half made, `lost` only where old content is gone.
"""

from __future__ import annotations

import re
import signal
from itertools import pairwise

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, SIGNALED, History, Run
from blackstart.core.masking import same
from blackstart.core.reading import FileState
from blackstart.core.signals import signal_name
from blackstart.core.verdict import DEFECT, ENDED_WELL, NOTE, SAYS_SO, Verdict, failed, passed, unknown
from blackstart.oracles.bags import fewer_at_end, half_made
from blackstart.oracles.compare import is_broken, is_empty, is_extended, is_less, is_one_of
from blackstart.oracles.legal import versions_of
from blackstart.oracles.speech import spoke
from blackstart.oracles.uncaught import TRACEBACK, traceback_of
from blackstart.oracles.view import CLOCK_KINDS, DAMAGE_KINDS, View
from blackstart.oracles.waits import SLOW, Trouble, died, hangs
from blackstart.oracles.words import AT_ITS_END, difference

NAME = "end"
SILENT = f"{ENDED_WELL} and said nothing"
# What an import hook or a template has made ("<x generated wrapper>") is no file of the program's own either.
_LIBRARIES = ("<frozen ", " generated ", "/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/")
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(: |$)")
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line \d+, in (?P<function>.+)$')


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """Verdicts on the first start."""
    view = View(history, calibration)
    if view.first is None or view.clean is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    if view.was_killed:
        return (passed(NAME, "the fault ended it"),)
    hanging = hangs(view, view.first)
    if hanging is not None:
        return (_of_hang(view, hanging),)
    if view.first.end.how == SIGNALED:
        return (_of_signal(view, view.first),)
    return (*_silent(view, view.first), *_traceback(view, view.first)) or (passed(NAME),)


def _of_hang(view: View, hanging: Trouble) -> Verdict:
    held = [one for one in view.history.injected if re.search(r"\bhang\b", one.fault)]
    if held:
        return passed(NAME, "the fault itself holds it")
    if hanging.consequence:
        paths = [hanging.path] if hanging.path else []
        return failed(NAME, hanging.consequence, hanging.evidence, paths=paths, label=hanging.label)
    evidence = hanging.evidence
    return passed(NAME, evidence) if evidence.startswith(SLOW) else unknown(NAME, evidence)


def _of_signal(view: View, first: Run) -> Verdict:
    """A crash is a signal that no program asks for; an abort only where the restart fails."""
    name = signal_name(first.end.signal)
    if view.history.kind == "signal":
        return passed(NAME, f"it dies of {name}, as it was told to")
    restarted = bool(view.restarts) and view.ends_as_clean(view.restarts[-1])
    afterwards = "; it starts again afterwards" if restarted else ""
    trouble = died(first)
    if trouble:
        return failed(NAME, "crashed", trouble.evidence + afterwards)
    if first.end.signal == signal.SIGABRT and view.restarts and not restarted:
        return failed(NAME, "crashed", "it aborts, and its restart fails")
    return passed(NAME, f"it stops with {name}{afterwards}")


def _silent(view: View, first: Run) -> list[Verdict]:
    """Exit status 0 with a state or output file short of the last version."""
    clean = view.clean
    assert clean is not None
    if first.end.how != EXITED or first.end.code != 0 or clean.code != 0 or view.calibration.is_service:
        return []
    if view.history.kind == "signal":
        return []  # told to end, it ends
    if view.history.kind in CLOCK_KINDS:
        return []  # what it writes may depend on the time, which was changed
    damaged = view.damaged()
    if view.history.kind in DAMAGE_KINDS and not _only_caches(view, damaged):
        return []  # what the program could do without the file is not known
    short = [(p, text) for p in view.judged() if (text := _short(view, first, p))]
    short += fewer_at_end(view, first)
    if not short:
        return []
    said = spoke(view, first)
    if said is None:
        return [unknown(NAME, "it ended with 0 and unfinished work, but whether it said so cannot be told")]
    consequence, label, words = _told(view, first, [p for p, _ in short]) if said else ("silent", DEFECT, SILENT)
    if not said and (
        _is_only_clutter(view, first, [p for p, _ in short]) or all(_is_derived(view, p) for p, _ in short)
    ):
        label = NOTE
    return [failed(NAME, consequence, words, *(text for _, text in short), paths=[p for p, _ in short], label=label)]


def _told(view: View, first: Run, short: list[str]) -> tuple[str, str, str]:
    """(consequence, label, sentence) where the program spoke of its failure, yet ended with 0: by what became of it."""
    states = [_after_and_before(view, first, path) for path in short]
    if all(same(state, old) for state, old in states):
        return "unclean", NOTE, f"{SAYS_SO} something failed, keeps what was there, and ends with exit status 0"
    if all(_is_made_anew(view, path) for path in short):
        label = NOTE if all(view.calibration.roles.get(path) == "state" for path in short) else DEFECT
        return "unclean", label, f"{SAYS_SO} something failed and ends with exit status 0; the next run makes it anew"
    if any(_is_gone(state, old) for state, old in states):
        return "lost", DEFECT, f"{ENDED_WELL}, though not without a message, and old content is gone"
    return "unclean", DEFECT, f"{SAYS_SO} something failed, leaves its work half done, and ends with exit status 0"


def _after_and_before(view: View, first: Run, path: str) -> tuple[FileState | None, FileState | None]:
    """What the run left there, and what stood there; of files that share a name, the one that it left half made."""
    if view.is_shared(path):
        return half_made(view, first, path), None
    return view.state(first, path), versions_of(view, path)[0]


def _is_made_anew(view: View, path: str) -> bool:
    """Whether the restart left there what so many clean runs leave: nothing was lost that stands nowhere else."""
    if len(view.restarts) != view.reruns or len(view.later) < view.reruns or view.is_shared(path):
        return False
    if not view.ends_as_clean(view.restarts[-1]):
        return False
    return same(view.state(view.restarts[-1], path), view.later[view.reruns - 1].files.get(path))


def _is_derived(view: View, path: str) -> bool:
    """Whether the program has it from elsewhere, as it has a cache: the next run added what this one had not written.

    Told where each run leaves something else, of what the program itself reads; what is made for others was short
    until then.
    """
    if view.calibration.roles.get(path) != "state" or not _is_made_anew(view, path):
        return False
    assert view.clean is not None
    finals = [run.files.get(path) for run in (view.clean, *view.later[: view.reruns])]
    return all(not same(one, other) for one, other in pairwise(finals))


def _is_only_clutter(view: View, first: Run, short: list[str]) -> bool:
    """Whether all that is wrong are files that it could not remove, while what it wrote is as it should be."""
    assert view.clean is not None
    clean = view.clean
    for path in short:
        old = versions_of(view, path)[0]
        if clean.files.get(path) is not None or old is None or not same(view.state(first, path), old):
            return False
    made = (path for path in view.judged() if path not in short and clean.files.get(path) is not None)
    return any(not same(versions_of(view, path)[0], clean.files.get(path)) for path in made)


def _is_gone(state: FileState | None, old: FileState | None) -> bool:
    """Whether something of what stood there before is no longer there."""
    return not is_empty(old) and not same(state, old) and (bool(is_broken(state, (old,))) or is_less(state, old))


def _only_caches(view: View, damaged: frozenset[str]) -> bool:
    return bool(damaged) and all(view.calibration.roles.get(path) == "cache" for path in damaged)


def _short(view: View, first: Run, path: str) -> str:
    """A sentence if the file is short of its last version, else ``."""
    assert view.clean is not None
    expected, state = view.clean.files.get(path), view.state(first, path)
    if same(state, expected):
        return ""
    versions = versions_of(view, path)
    why = is_broken(state, versions)
    less = is_less(state, expected) and not _is_other_form(view.calibration.roles.get(path, ""), state, expected)
    if why or less or _is_earlier(state, versions, expected):
        return difference(path, state, expected, why, when=AT_ITS_END)
    return ""


def _is_other_form(role: str, state: FileState | None, expected: FileState | None) -> bool:
    """Whether fewer bytes need not mean less: only the program knows what its own binary state says.

    A piece of the whole is less in any format; other bytes, such as those without an optional part and with a checksum
    of their own, may say the same. What is written for others to read has no such excuse.
    """
    if role != "state" or is_empty(state) or state is None or state.content is None or state.content.form != "bytes":
        return False
    return not is_extended(state, expected)


def _is_earlier(state: FileState | None, versions: tuple[FileState | None, ...], last: FileState | None) -> bool:
    if is_empty(state) and is_empty(last):
        return False
    return is_one_of(state, versions)


def _traceback(view: View, first: Run) -> list[Verdict]:
    """An exception that nobody caught: low, one finding per exception and function."""
    assert view.clean is not None
    if TRACEBACK.decode() in view.clean.stderr or view.history.kind == "null":
        return []
    pieces = [output.data for output in first.outputs if output.stream == "stderr"]
    is_bad_end = first.end.code not in (0, view.clean.code)
    lines = view.masker.text("stderr", traceback_of(pieces, is_bad_end=is_bad_end)).splitlines()[1:]
    if not lines:
        return []
    frames = [found for line in lines if (found := _FRAME.match(line))]
    # Other threads may log between the lines of a traceback.
    last = next((line for line in lines if _EXCEPTION.match(line)), "")
    own = [frame for frame in frames if not any(part in frame["file"] for part in _LIBRARIES)] or frames
    where = f"{own[-1]['function']} ({own[-1]['file'].rsplit('/', 1)[-1]})" if own else "an unknown function"
    exception = last.split(":")[0]
    if exception.rpartition(".")[2] in ("KeyboardInterrupt", "CancelledError") and view.history.kind == "signal":
        return []  # that is how Python tells its parts of a signal
    what = f"an uncaught {exception or 'exception'} in {where}{last and ': '}{last[:200]}"
    return [failed(NAME, "unclean", what, label=NOTE)]
