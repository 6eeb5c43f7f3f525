"""Failing trials grouped by cause: what failed, under which kind of fault, on which file, in which function.

Severity follows what happened to the state, not the exception. Findings labelled policy or note are low and do not fail
a run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import msgspec

from blackstart.core.frames import shown_name
from blackstart.core.history import EXITED, STOPPED, History, Injected
from blackstart.core.trace import OPENING, Operation
from blackstart.core.verdict import (
    ARE_GONE,
    CHECK_ANSWERS,
    DEFECT,
    EACH_WHOLE,
    ENDED_WELL,
    FAILED,
    GONE_AND,
    GONE_WHOLE,
    NOTE,
    POLICY,
    READ_BY_OTHERS,
    SAYS_SO,
    Verdict,
)
from blackstart.findings.advice import (
    ANSWERED,
    LINKED,
    MOVED,
    PRIVATE,
    REMOVED,
    REPLACED,
    TAKEN,
    TOGETHER,
    TWICE,
    UNCHECKED,
    UNREAD,
    advice,
    power_advice,
)
from blackstart.findings.fingerprint import context, fingerprint

CRITICAL, MAJOR, MINOR, LOW = "critical", "major", "minor", "low"
SEVERITIES = (CRITICAL, MAJOR, MINOR, LOW)
_BY_CONSEQUENCE = {
    "lost": CRITICAL, "corrupt": CRITICAL, "stuck": MAJOR, "hung": MAJOR, "spinning": MAJOR, "dead": MAJOR,
    "silent": MAJOR, "crashed": MINOR, "leaked": MINOR, "unclean": MINOR,
}  # fmt: skip
RESTART = "restart"
_SHARED = re.compile(r"\.so[.:]")


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One failing verdict of one trial; trial: its id, empty if it has none yet; appended: masked paths of the files
    that clean runs only append to; takes: whether clean runs take files away that they never write (tasks); gaps: those
    of files that clean runs remove before they rename a new one to that name; kept: those that hold something after
    each clean run.
    """

    history: History
    verdict: Verdict
    trial: str = ""
    appended: frozenset[str] = frozenset()
    takes: bool = False
    gaps: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    @property
    def injected(self) -> Injected | None:
        """The fault that acted first."""
        acted = [one for one in self.history.injected if one.fired]
        return next(iter(acted or self.history.injected), None)

    @property
    def operation(self) -> Operation | None:
        """The operation on which the fault fired."""
        return self.injected.operation if self.injected else None

    @property
    def masked(self) -> str:
        """The masked path of that operation."""
        return (self.operation.masked or self.operation.path) if self.operation else ""

    @property
    def fault(self) -> str:
        """The faults of the trial as text."""
        return "; ".join(one.fault for one in self.history.injected)

    @property
    def restarts(self) -> bool | None:
        """Whether the program started again afterwards; None if it was not tried."""
        again = [run for run in self.history.runs if run.phase.startswith("restart")]
        return any(run.end.how == EXITED and run.end.code == 0 for run in again) if again else None


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The failing trials of one cause.

    where: call, masked path and function of the fault; paths: the files concerned; faults: all faults that led here;
    trials: their trials, the plainest first (to be reproduced and replayed).
    """

    fingerprint: str
    severity: str
    label: str
    consequence: str
    oracle: str
    kind: str
    fault: str
    where: str = ""
    paths: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    advice: str = ""
    faults: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()


def severity(consequence: str, label: str = DEFECT, *, restarts: bool | None = None) -> str:
    """critical, major, minor or low; a crash that does not start again is major."""
    if label != DEFECT:
        return LOW
    if consequence == "crashed" and restarts is False:
        return MAJOR
    return _BY_CONSEQUENCE[consequence]


def group(failures: Iterable[Failure]) -> tuple[Finding, ...]:
    """Findings, the most severe first, then those that most trials show."""
    causes: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        if failure.verdict.outcome == FAILED:
            causes.setdefault(_cause(failure), []).append(failure)
    found = [_finding(cause, members) for cause, members in causes.items()]
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), -len(one.trials), one.fingerprint)))


def cause_of(failure: Failure) -> str:
    """The fingerprint of the cause: equal for failures that belong to one finding."""
    return fingerprint(*_cause(failure))


def is_same(again: Failure, known: Failure) -> bool:
    """Whether a repetition failed as the known trial did: the same cause, or the same harm to one of its files.

    In a program of several threads a fault may hurt another set of files each time.
    """
    if cause_of(again) == cause_of(known):
        return True
    one, other = again.verdict, known.verdict
    is_harm = (one.oracle, one.consequence, one.label) == (other.oracle, other.consequence, other.label)
    return is_harm and not set(one.paths).isdisjoint(other.paths)


def _cause(failure: Failure) -> tuple[str, ...]:
    """Consequence, label, kind of fault, files concerned, and the function (or the call, where no frame is known).

    Where the program hangs, or does not start again, on a thing that is known, that thing is the cause, wherever the
    fault fell; so is what it says when it does not start again for no file that is known.
    """
    verdict, operation = failure.verdict, failure.operation
    if failure.history.kind == "power":  # the same loss shows at many cuts
        return (verdict.consequence, verdict.label, "power", ",".join(sorted(verdict.paths)), *_sort(failure))
    if verdict.label == POLICY:  # the trade-off is one, wherever the fault fell
        return (verdict.consequence, verdict.label, failure.history.kind, ",".join(sorted(verdict.paths)))
    if verdict.label == NOTE:  # an exception and its function, whatever the fault
        return (verdict.consequence, verdict.label, "", verdict.evidence[0].split(":")[0] if verdict.evidence else "")
    paths = ",".join(sorted(verdict.paths))
    kind = failure.history.kind
    if verdict.oracle == RESTART and not paths:
        return (verdict.consequence, verdict.label, kind, "", _plain(verdict.evidence[0] if verdict.evidence else ""))
    if paths and verdict.consequence in ("stuck", "leaked"):  # it is left behind whatever ended the program
        return (verdict.consequence, verdict.label, "", paths)
    if paths and (verdict.oracle == RESTART or verdict.consequence in ("hung", "spinning")):
        return (verdict.consequence, verdict.label, kind, paths, "")
    if kind == "kill-one" and not paths:  # whichever of its steps a child dies at, it is its death that is not noticed
        return (verdict.consequence, verdict.label, kind, "", context(operation.site) if operation else "")
    function = context(operation.site) if operation else ""
    call = "" if function or kind == "kill" or operation is None else operation.call
    return (verdict.consequence, verdict.label, kind, paths or failure.masked, function or call)


def _sort(failure: Failure) -> tuple[str, ...]:
    """Which sort of power cut, if it is no plain one: after a sync that failed, or in the recovery from another."""
    cuts = [one.cut for one in failure.history.injected if one.cut is not None]
    if len(cuts) > 1:
        return ("during recovery",)
    return ("after a failed sync",) if any("dropped" in cut.lost_kinds for cut in cuts) else ()


def _plain(text: str) -> str:
    """A message without its numbers."""
    return re.sub(r"(0x)?[0-9]+([.][0-9]+)?", "N", text.partition("; none of")[0])


def _finding(cause: tuple[str, ...], members: list[Failure]) -> Finding:
    first = members[0]
    verdict = first.verdict
    restarts = False if any(one.restarts is False for one in members) else first.restarts
    operation = first.operation
    call = operation.call if operation else ""
    return Finding(
        fingerprint=fingerprint(*cause),
        severity=severity(verdict.consequence, verdict.label, restarts=restarts),
        label=verdict.label,
        consequence=verdict.consequence,
        oracle=verdict.oracle,
        kind=first.history.kind,
        fault=first.fault,
        where=where(first),
        paths=tuple(dict.fromkeys(path for one in members for path in one.verdict.paths)),
        evidence=verdict.evidence,
        advice=_advice(first, call),
        faults=tuple(dict.fromkeys(one.fault for one in members)),
        trials=tuple(dict.fromkeys(one.trial for one in members)),
    )


def _advice(failure: Failure, call: str) -> str:
    verdict, injected = failure.verdict, failure.injected
    hurt = verdict.paths or (failure.masked,)  # a check need not say which file it misses something in
    appended = failure.appended.issuperset(hurt)
    if verdict.consequence == "stuck" and any(GONE_WHOLE in text for text in verdict.evidence):
        return MOVED
    if any(text.startswith(EACH_WHOLE) for text in verdict.evidence):
        return _of_whole_files(failure, call)
    consequence = "corrupt" if _is_in_the_way_by_content(failure) else verdict.consequence
    if any(READ_BY_OTHERS in text for text in verdict.evidence[:1]):
        return PRIVATE
    if any(GONE_AND in text for text in verdict.evidence[:1]):
        return REMOVED
    if injected is not None and injected.cut is not None:
        cuts = [one.cut for one in failure.history.injected if one.cut is not None]
        return power_advice(cuts, consequence, verdict.label, verdict.paths, appended=appended)
    if _is_answered_in_spite(failure):
        return ANSWERED
    if call.startswith("symlink") and verdict.consequence in ("lost", "silent"):
        return LINKED
    if verdict.oracle in ("together", "twice"):
        return TOGETHER if verdict.oracle == "together" else TWICE
    if len(verdict.paths) > 1 and any(text.startswith(CHECK_ANSWERS) for text in verdict.evidence[:1]):
        return TOGETHER
    is_read = _is_of_a_read(failure)
    if call.startswith("rename") and verdict.consequence == "lost" and _is_in_gap(failure):
        return REPLACED
    if failure.takes and verdict.consequence == "lost" and failure.history.kind in ("kill", "signal"):
        return TAKEN
    has_said = any(text.startswith(SAYS_SO) for text in verdict.evidence[:1])
    kind = failure.history.kind
    if kind == "errno" and not is_read and failure.operation is not None and failure.operation.reads:
        if verdict.consequence in ("lost", "corrupt", "silent"):
            return UNREAD
    if kind in ("errno", "disk", "limit", "kill-one") and not is_read and _is_unchecked(failure):
        return UNCHECKED
    return advice(consequence, kind, call, verdict.label, is_read=is_read, has_said=has_said, appended=appended)


def _is_in_the_way_by_content(failure: Failure) -> bool:
    """Whether what blocks the start is no lock and no rest of a run, but a file of content that is not whole."""
    return failure.verdict.consequence == "stuck" and bool(failure.kept & set(failure.verdict.paths))


def _of_whole_files(failure: Failure, call: str) -> str:
    """For files that are whole by themselves while the check fails: one of them may be what was begun afresh."""
    if call.startswith("rename") and not failure.gaps.isdisjoint(failure.verdict.paths):
        return REPLACED
    if failure.history.kind == "errno" and _is_of_a_read(failure):
        return advice(failure.verdict.consequence, "errno", call, failure.verdict.label, is_read=True)
    return TOGETHER


def _is_of_a_read(failure: Failure) -> bool:
    """Whether the call that failed asks what stands in a file that was hurt (in any, where it is not known which)."""
    operation, paths = failure.operation, failure.verdict.paths
    if operation is None or not (operation.reads or _is_opening(operation)):
        return False
    return not paths or failure.masked in paths


def _is_answered_in_spite(failure: Failure) -> bool:
    """Whether a service lived on, and all that it lost was acknowledged after something had failed."""
    first, verdict = failure.history.run("run"), failure.verdict
    if first is None or first.life is None or first.end.how != STOPPED or first.life.fired_s < 0:
        return False
    _, is_lost, names = (verdict.evidence or ("",))[0].partition(ARE_GONE)
    lost = set(names.removesuffix(" …").split(", "))
    early = {act.id for act in first.life.asked if act.how == "ok" and act.at_s < first.life.fired_s}
    is_told = verdict.oracle == "acknowledged" and verdict.label == DEFECT and is_lost
    return bool(is_told) and not lost & early


def _is_in_gap(failure: Failure) -> bool:
    """Whether what is lost had been removed already when the new file was to be renamed to that name."""
    if failure.verdict.paths:
        return failure.gaps.issuperset(failure.verdict.paths)
    onto = os.path.basename(failure.operation.path2) if failure.operation else ""
    return bool(onto) and onto in map(os.path.basename, failure.gaps)


def _is_unchecked(failure: Failure) -> bool:
    """Whether a failing call on another file (the new one, which is then renamed) did harm, and it ended as if all was
    well.
    """
    paths = failure.verdict.paths
    first = failure.history.run("run")
    is_well = any(text.startswith(ENDED_WELL) for text in failure.verdict.evidence)
    is_told_by_end = _is_in_gap(failure) or _is_in_the_way_by_content(failure)
    is_well |= is_told_by_end and first is not None and (first.end.how, first.end.code) == (EXITED, 0)
    return is_well and bool(paths and failure.masked) and failure.masked not in paths


def _is_opening(operation: Operation) -> bool:
    """Whether it opens what stands there, to write into it too: where that fails, nothing is known of the content."""
    return operation.call in OPENING and not operation.is_opening_for_change


def where(failure: Failure, stack: tuple[str, ...] = ()) -> str:
    """Call, path and function of the fault; stack: the exact frames, if they were fetched.

    The frames of a native program are a guess until then: it names only functions of its own, and says `near`.
    """
    operation = failure.operation
    if operation is None:
        return failure.masked
    is_guess = not stack and all(frame.endswith(":0") for frame in operation.site)
    own = tuple(frame for frame in operation.site if not _SHARED.search(frame))
    function = _plain_context(stack or (own if is_guess else operation.site))
    parts = (operation.call, failure.masked or operation.masked or operation.path)
    told = " ".join(part for part in parts if part)
    return f"{told} {'near' if is_guess else 'in'} {function}" if function else told


def _plain_context(site: tuple[str, ...]) -> str:
    """The context as people read it; the fingerprint keeps the name as the linker has it."""
    function, space, place = context(site).partition(" ")
    return shown_name(function) + space + place
