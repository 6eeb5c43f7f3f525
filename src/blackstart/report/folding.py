"""Findings put in order and folded for people: what one careless place in a program does is one story.

One careless write is found by a kill, a full disk, a signal and a failing call. Each of these stays a finding of its
own, with a fingerprint and a replay command, since one may be mended and another not; but ten blocks of the same words
hide what is worth reading. A finding joins the first story whose shown finding it is like; one that is folded there
brings in only what says just the same, since likeness that is handed on would end in one story for everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from blackstart.core.frames import Frame, read_frame
from blackstart.report.model import SEVERITIES, Finding

# Kinds of fault that come one after another: a sync that fails and then a power cut, a cut in the recovery from a cut.
_TWOFOLD = ("failing-sync", "second-cut")
# Any program can be killed; that power was cut at a place of its choosing takes some words.
_SIMPLICITY = {"kill": 0, "power": 2}
_SENTENCE = re.compile(r"(?<=[.]) ")


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """first: the finding to be shown in full; others: those that tell the same story, in their order."""

    first: Finding
    others: tuple[Finding, ...] = ()

    @property
    def more_advice(self) -> tuple[tuple[str, str], ...]:
        """(id, what its advice says beyond what was said before), for those of the others that say more."""
        said, more = set(_SENTENCE.split(self.first.advice)), []
        for one in self.others:
            new = [sentence for sentence in _SENTENCE.split(one.advice) if sentence not in said]
            if one.advice and new:
                more.append((one.id, " ".join(new)))
                said.update(new)
        return tuple(more)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """By severity, defects before policies and notes, those of one fault before those that need two, a kill before
    what needs more words and a power cut after it, the most frequent first.
    """
    labels = ("defect", "policy", "note")

    def rank(finding: Finding) -> tuple[int, int, bool, int, int, str]:
        faults: Sequence[object] = finding.plan.get("faults") or ({},)
        needs_two = len(faults) > 1 or (isinstance(faults[0], Mapping) and faults[0].get("fault") in _TWOFOLD)
        severity, label = SEVERITIES.index(finding.severity), labels.index(finding.label)
        simplicity = _SIMPLICITY.get(finding.kind, 1)
        return severity, label, needs_two, simplicity, -finding.trials, finding.id

    return sorted(findings, key=rank)


def folded(findings: Iterable[Finding]) -> list[Fold]:
    """The findings in their order, each with the later ones that tell the same story."""
    groups: list[list[Finding]] = []
    for finding in findings:
        home = next((group for group in groups if _is_part_of(group, finding)), None)
        if home is None:
            groups.append([finding])
        else:
            home.append(finding)
    return [Fold(first=first, others=tuple(others)) for first, *others in groups]


def _is_part_of(group: list[Finding], other: Finding) -> bool:
    """Whether it is like the finding that is shown, or says just what one of those folded under it says."""
    return _is_one_story(group[0], other) or any(_is_the_same(one, other) for one in group[1:])


def _is_the_same(one: Finding, other: Finding) -> bool:
    same = (one.label, one.consequence, one.advice) == (other.label, other.consequence, other.advice)
    return same and bool(set(one.paths) & set(other.paths))


def _is_one_story(first: Finding, other: Finding) -> bool:
    """Whether both harm the same file in the same way or in the same place, or ask for the same repair of it; what does
    the same harm to another file beside it is one story too, where the repair is the same. Those that harm no file are
    one story only where harm, repair and place are the same.
    """
    if first.label != other.label:
        return False
    same_harm, same_advice = first.consequence == other.consequence, first.advice == other.advice
    if not first.paths:
        return not other.paths and same_harm and same_advice and bool(_places(first) & _places(other))
    if set(first.paths) & set(other.paths):
        return same_harm or (same_advice and bool(first.advice)) or bool(_places(first) & _places(other))
    is_beside = first.severity == other.severity and _directories(first) == _directories(other)
    return same_harm and same_advice and is_beside


def _places(finding: Finding) -> set[object]:
    """The line of the program's own code where the fault falls, and the n-th call on its path, as far as known."""
    frames = [frame for frame in map(read_frame, finding.stack) if frame and frame.line]
    own: list[Frame] = [frame for frame in frames if frame.file.startswith("$CWD/")] or frames
    faults: Sequence[object] = finding.plan.get("faults") or ()
    alone = faults[0] if len(faults) == 1 else None
    point = alone.get("point") if isinstance(alone, Mapping) else None
    called = [(point.get("call"), point.get("path"), point.get("nth", 1))] if isinstance(point, Mapping) else []
    return {*own[:1], *called}


def _directories(finding: Finding) -> frozenset[str]:
    return frozenset(path.rpartition("/")[0] for path in finding.paths)
