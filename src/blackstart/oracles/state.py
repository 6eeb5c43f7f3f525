"""Is what the target keeps still legal after its own recovery?

Only state and output files, only after a restart, only against what clean runs did. First level that applies: the
answer of `--check`; the logical content; that it reads as all its clean versions did; where none of these tells, the
answer of the restart itself, if each clean run gives another one. Where no restart worked there was no recovery: then
only files whose reset made the target start again are judged, or all if no reset did.
"""

from __future__ import annotations

import re

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, History, Run
from blackstart.core.verdict import EACH_WHOLE, FAILED, Verdict, failed, passed, unknown
from blackstart.oracles import damage
from blackstart.oracles.answers import after_restart, strange
from blackstart.oracles.bags import fewer_after, half_after
from blackstart.oracles.compare import is_broken, is_one_of
from blackstart.oracles.legal import CORRUPT, LEGAL, LOST, legal_after, legal_unrecovered, versions_of
from blackstart.oracles.nowhere import nowhere
from blackstart.oracles.once import judge_once
from blackstart.oracles.outputs import reached
from blackstart.oracles.tearing import torn
from blackstart.oracles.view import CLOCK_KINDS, DAMAGE_KINDS, PEER_KINDS, View

NAME = "state"
_DIGITS = re.compile(r"[0-9]+")


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`lost` or `corrupt`, one verdict each if both are found; else one verdict."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS:
        return damage.judge_state(view, NAME)
    if view.clean is None or view.first is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    if calibration.refuses_rerun:
        nothing = passed(NAME, "the program refuses a second run, so recovery by re-run does not apply")
        return (() if history.kind in CLOCK_KINDS + PEER_KINDS else judge_once(view, NAME)) or (nothing,)
    if not view.restarts:
        return (unknown(NAME, "the target was not restarted"),)
    last = view.restarts[-1]
    if history.kind in CLOCK_KINDS:
        failing = [one for one in _by_check(view, last) if one.outcome == FAILED]
        return tuple(failing) or (passed(NAME, "what it keeps may depend on the time, which was changed"),)
    if history.kind in PEER_KINDS:
        return _still_reads(view, last)
    if not view.ends_as_clean(last):
        return _unrecovered(view, last)
    answered = _by_check(view, last)
    odd = None if answered else after_restart(view, last, NAME)
    return answered or ((odd,) if odd is not None else _by_content(view, last))


def _by_check(view: View, last: Run) -> tuple[Verdict, ...]:
    """What the check says of the recovered state; () where it does not decide."""
    answer, clean = view.check(last), view.check_of(view.clean)
    if answer is None or clean is None or clean.code != 0:
        return ()
    if answer.code != 0:
        said = f": {answer.text.strip().splitlines()[-1][:200]}" if answer.text.strip() else ""
        text = f"the check fails after the restart ({answer.how}{said})"
        whole = _whole(view, last)
        if len(whole) > 1:
            each = f"{EACH_WHOLE}: {', '.join(whole)}; so it may be that they no longer fit together"
            return (failed(NAME, "corrupt", text, each, paths=whole),)
        return (failed(NAME, "corrupt", text),)
    legal = {one.text for run in (view.clean, *view.later[: view.reruns]) if (one := view.check_of(run))}
    if answer.text.strip() and answer.text in legal:
        return (passed(NAME, "the check gives an answer of a clean run"),)
    return ()


def _whole(view: View, last: Run) -> tuple[str, ...]:
    """The files that the clean run from here changes; () if one of them is less than clean runs leave there."""
    paths = tuple(path for path in view.judged() if len(versions_of(view, path)) > 1)
    for path in paths:
        state, legal = view.state(last, path), legal_after(view, path)
        if is_broken(state, legal.known) or (state is not None and torn(state, legal.known)):
            return ()
        if state is None and legal.low is not None:
            return ()
    return paths


def _by_content(view: View, last: Run) -> tuple[Verdict, ...]:
    found: dict[str, dict[str, str]] = {LOST: {}, CORRUPT: {}}
    unsure: list[str] = []
    for path in view.judged():
        legal, state = legal_after(view, path), view.state(last, path)
        outcome = legal.judge(state)
        if outcome == LOST and state is None and _has_another_number(view, path, last):
            continue
        if outcome == LOST and state is None and _was_refused(view, path):
            unsure.append(path)
        elif outcome in found:
            found[outcome][path] = legal.sentence(path, state)
        elif outcome != LEGAL:
            unsure.append(path)
    for path, text in (*nowhere(view, last).items(), *fewer_after(view, last)):
        found[LOST].setdefault(path, text)
    found[CORRUPT].update(half_after(view, last))
    odd = strange(view, last)
    if unsure and not any(found.values()) and not odd and _answers_as_clean(view, last):
        names = ", ".join(unsure)
        return (passed(NAME, f"{names} cannot be compared, but the restart read it and answers as a clean run does"),)
    return _verdicts(view, found, unsure, odd)


def _answers_as_clean(view: View, last: Run) -> bool:
    """Whether the restart printed what a clean re-run prints, where each clean run of the chain prints something else.

    Then what it prints tells which version of its state it has read.
    """
    runs = [run for run in (view.clean, *view.later[: view.reruns]) if run is not None]
    answers = [run.stdout for run in runs]
    if "stdout" in view.calibration.mask.hopeless or len(answers) < 2 or len(set(answers)) < len(answers):
        return False
    return all(answer.strip() for answer in answers) and view.text(last, "stdout") in answers


def _still_reads(view: View, last: Run) -> tuple[Verdict, ...]:
    """`corrupt` where a file no longer reads as all its clean versions did."""
    failing = [one for one in _by_check(view, last) if one.outcome == FAILED]
    found = {path: is_broken(view.state(last, path), versions_of(view, path)) for path in view.judged()}
    broken = {path: why for path, why in found.items() if why}
    if broken and not failing:
        return (failed(NAME, "corrupt", *(f"{path} {why}" for path, why in broken.items()), paths=broken),)
    return tuple(failing) or (passed(NAME, "it still reads; what it holds may depend on what the peer was asked"),)


def _has_another_number(view: View, path: str, last: Run) -> bool:
    """Whether it was never made in this history, and another file took its place: the restart went on counting.

    Names that differ in their numbers are places of one list, as lines are: it has as many as a clean run leaves, and
    one of a number that the clean run from here did not come to. What had been acknowledged is another matter, and so
    is a task that was taken away for each: then there must be one for each task that is gone.
    """
    assert view.clean is not None
    family, names = _numbered(path), [{view.masker(one) for one in run.image} for run in view.history.runs]
    stood = view.clean.versions.get(path, (None,))[0] is not None or any(path in seen for seen in names)
    if not family or stood or reached(view).get(path, 0) > 0:
        return False
    now = {view.masker(one) for one, state in last.image.items() if state.size}
    now = {one for one in now if _numbered(one) == family}
    then = {one for one in view.clean.files if _numbered(one) == family}
    is_another = len(now) >= len(then) and bool(now - then)
    return is_another and _has_one_for_each_task(view, last, len(now), len(then), family)


def _has_one_for_each_task(view: View, last: Run, now: int, then: int, family: str) -> bool:
    """Whether there are as many results for each task that is gone as a clean run leaves.

    A task is a file that a clean run finds and takes away; it is gone where nothing holds its content any more.
    """
    assert view.clean is not None
    runs = (view.clean, *view.later[: view.reruns])
    starts = [{path: found[0] for path, found in run.versions.items() if found} for run in runs]
    tasks = [
        {path: state for path, state in start.items() if state is not None and run.files.get(path) is None}
        for start, run in zip(starts, runs, strict=True)
    ]
    stands = view.masker.image(last.image)
    held = [state for state in stands.values() if state is not None]
    every = {path: state for found in tasks for path, state in found.items()}
    gone = [path for path, task in every.items() if path not in stands and not is_one_of(task, held)]
    old = sum(state is not None and _numbered(path) == family for path, state in starts[0].items())
    return (now - old) * len(tasks[0]) >= (then - old) * len(gone)


def _numbered(path: str) -> str:
    """The path with `#` for the numbers in its last part; `` where there are none."""
    directory, slash, name = path.rpartition("/")
    plain = _DIGITS.sub("#", name)
    return f"{directory}{slash}{plain}" if plain != name else ""


def _was_refused(view: View, path: str) -> bool:
    """Whether the first run ended with a status that said it had not done its work, and never made this file before.

    What it could not make it may have set aside, or a second run may mean something else: that is no loss.
    """
    assert view.clean is not None
    versions = view.clean.versions.get(path, (None,))
    end = view.first.end if view.first else None
    return versions[0] is None and end is not None and end.how == EXITED and end.code not in (0, view.clean.code)


def _unrecovered(view: View, last: Run) -> tuple[Verdict, ...]:
    found: dict[str, dict[str, str]] = {LOST: {}, CORRUPT: {}}
    culprits = view.culprits()
    for path in view.judged():
        if (culprits is None or path in culprits) and not _is_only_half_made(view, path):
            legal, state = legal_unrecovered(view, path), view.state(last, path)
            outcome = legal.judge(state)
            if outcome in found:
                found[outcome][path] = legal.sentence(path, state)
    verdicts = _verdicts(view, found, [])
    if all(verdict.consequence for verdict in verdicts):
        return verdicts
    return (passed(NAME, "the restart fails, but what it would have recovered from is legal"),)


def _verdicts(view: View, found: dict[str, dict[str, str]], unsure: list[str], odd: str = "") -> tuple[Verdict, ...]:
    verdicts = tuple(
        failed(NAME, consequence, *files.values(), paths=files) for consequence, files in found.items() if files
    )
    if verdicts:
        return verdicts
    if unsure:
        hint = f" ({odd})" if odd else "" if view.calibration.has_check else " (--check would)"
        return (unknown(NAME, f"clean runs do not tell whether the content of {', '.join(unsure)} is legal{hint}"),)
    return (passed(NAME),)


def _is_only_half_made(view: View, path: str) -> bool:
    """Whether nothing was lost but a file that the broken run itself had begun: then it is `restart`'s to judge.

    So it is where no such file stood at the start, its removal made the restart work, and no output event had
    acknowledged a version of it.
    """
    assert view.clean is not None
    versions = view.clean.versions.get(path, (None,))
    if versions[0] is not None or path not in view.removed():
        return False
    return reached(view).get(path, 0) == 0
