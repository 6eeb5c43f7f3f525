"""Is what the target told the outside world still true after a kill and a restart?

At each output event (a line on stdout) the clean run's recording notes which version every file had reached. Output is
deterministic, so the lines that got out before the end say which event was the last; after the restart no file may
stand below its version then. A file counts as below only if what is there is what a re-run makes of a lower version,
and not what it makes of the acknowledged one or a higher: everything else is another oracle's affair. With `--check`
its answer on the state that the kill left counts first, before a re-run has hidden what was gone. Where clean runs
say something before they write it (write-behind), and a kill has shown the loss, that is a policy. Where the program
itself says by its exit status that its last step failed, what it said of that step is taken back: a note.
"""

from __future__ import annotations

import msgspec

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, History, Run
from blackstart.core.masking import UNREAD, same
from blackstart.core.reading import FileState
from blackstart.core.verdict import DEFECT, FAILED, NOTE, POLICY, SAYS_SO, Verdict, failed, passed, unknown
from blackstart.oracles.answers import before_restart
from blackstart.oracles.behind import written_behind
from blackstart.oracles.compare import is_broken, is_one_of
from blackstart.oracles.growth import moved_aside
from blackstart.oracles.legal import last_index, reruns_of
from blackstart.oracles.outputs import events_out, reached
from blackstart.oracles.view import CLOCK_KINDS, DAMAGE_KINDS, PEER_KINDS, View
from blackstart.oracles.words import AFTER_RESTART, difference

NAME = "acknowledged"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`lost` if an acknowledged version is gone after the restart; label policy where it is write-behind."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS:
        return (passed(NAME, "the damage is the fault's own"),)
    if history.kind in CLOCK_KINDS:
        return (passed(NAME, "what it keeps may depend on the time, which was changed"),)
    if history.kind in PEER_KINDS:
        return (passed(NAME, "what it keeps may depend on how often it asked its peer"),)
    if view.clean is None or view.first is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    answered = _by_check(view)
    if answered is not None:
        return (answered,)
    if calibration.refuses_rerun or not view.restarts:
        return (passed(NAME, "there was no restart to judge after"),)
    floor = reached(view)
    lost = []
    aside = moved_aside(calibration)  # what a backup holds follows from the file that it is one of, which is judged
    for path in view.judged():
        if floor.get(path, 0) > 0 and path not in aside:
            sentence = _below(view, path, floor[path], view.restarts[-1])
            if sentence:
                lost.append((path, sentence))
    if not lost:
        behind = written_behind(view) if view.was_killed and history.kind != "power" else None
        if behind is not None:
            return (failed(NAME, "lost", *behind.evidence, paths=behind.paths, label=POLICY),)
        return (passed(NAME),)
    events = events_out(view, view.first)
    if _is_taken_back(view, view.first, events):
        head = f"{SAYS_SO} it is done before it is, and takes that back with an exit status of its own"
        return (failed(NAME, "lost", head, *(text for _, text in lost), paths=[path for path, _ in lost], label=NOTE),)
    which, whose = ("1 line", "it") if events == 1 else (f"{events} lines", "they")
    head = f"{which} on stdout had got out before the end, and what {whose} acknowledged is gone after the restart"
    label = POLICY if calibration.write_behind else DEFECT
    extra = (calibration.write_behind,) if calibration.write_behind else ()
    texts = (head, *(sentence for _, sentence in lost), *extra)
    return (failed(NAME, "lost", *texts, paths=[path for path, _ in lost], label=label),)


def _is_taken_back(view: View, first: Run, events: int) -> bool:
    """Whether the run ended by itself with an error of its own after the last thing that a clean run acknowledges.

    Whoever reads the line reads the status too. Where a clean run acknowledges more after that, the error may be of the
    next step, and says nothing of this one.
    """
    assert view.clean is not None
    if first.end.how != EXITED or first.end.code in (0, view.clean.code):
        return False
    known = view.clean.acknowledgements
    return all(later.versions == known[events - 1].versions for later in known[events:])


def _by_check(view: View) -> Verdict | None:
    """What the check says of the state that the kill left; None where it does not decide.

    Where the check itself fails and the restart mends that, the program may have recovered as it is meant to: a note.
    Where the restart does not mend it, the state oracle says so.
    """
    if view.first is None or not view.was_killed or view.history.kind == "power" or not events_out(view, view.first):
        return None
    verdict = before_restart(view, NAME)
    if verdict.outcome != FAILED:
        return None
    again = view.check(view.restarts[-1]) if view.restarts else None
    if verdict.consequence == "lost":
        return msgspec.structs.replace(verdict, paths=tuple(view.judged()))
    if again is None or again.code != 0:
        return None
    texts = (f"the check fails until it is started again: {verdict.evidence[0]}",)
    return msgspec.structs.replace(verdict, evidence=texts, label=NOTE)


def _below(view: View, path: str, floor: int, last: Run) -> str:
    """A sentence if the file stands below version `floor` after the last restart, else ``."""
    assert view.clean is not None
    versions = view.clean.versions.get(path, ())
    state = view.state(last, path)
    if floor >= len(versions):
        return ""
    expected = versions[floor]
    if expected is not None and expected.kind == UNREAD:
        return ""
    broken = is_broken(state, versions)
    if not view.ends_as_clean(last):
        culprits = view.culprits()
        if culprits is not None and path not in culprits:
            return ""
        at = last_index(versions, state)
        gone = bool(broken) or (state is None and expected is not None) or -1 < at < floor
        return difference(path, state, expected, broken, when=AFTER_RESTART) if gone else ""
    kept, below, measured = _after_rerun(view, path, versions, floor)
    if not measured or is_one_of(state, kept) or not is_one_of(state, below):
        return ""
    return difference(path, state, kept[0], broken, when=AFTER_RESTART)


def _after_rerun(
    view: View, path: str, versions: tuple[FileState | None, ...], floor: int
) -> tuple[list[FileState | None], list[FileState | None], bool]:
    """(contents after re-runs from the floor or above, from below it, whether the floor itself was re-run from)."""
    assert view.clean is not None
    kept: list[FileState | None] = []
    below: list[FileState | None] = []
    measured = False
    for start, after in reruns_of(view, path):
        at = last_index(versions, start)
        if at >= floor:
            measured = measured or same(start, versions[floor])
            kept.append(after)
        elif at >= 0:
            below.append(after)
    if view.again is not None:
        measured = measured or same(versions[-1], versions[floor])
        kept.append(view.again.files.get(path))
    if last_index(versions, versions[0]) < floor:
        below.append(view.clean.files.get(path))
    return kept, below, measured
