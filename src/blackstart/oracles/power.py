"""What is particular to power cuts: the answers of `--check` on the disk as it was left, and what is called a defect.

A failure that no file system in common use allows is a note. Where nothing is undone but the last acknowledged step,
and all of its bytes were there, it is a policy: the name was not synced, which may be meant so.
"""

from __future__ import annotations

import msgspec

from blackstart.core.calibration import Calibration
from blackstart.core.frames import shown_place
from blackstart.core.history import EXITED, Cut, History
from blackstart.core.verdict import DEFECT, FAILED, NOTE, POLICY, Verdict
from blackstart.oracles.answers import before_restart
from blackstart.oracles.growth import only_appended
from blackstart.oracles.view import View

NAME = "power"
KIND = "power"
# The model after which all stands on the disk that had been written.
_KILLED = "kill9"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`corrupt` or `lost` by the check's answer on the crash state; nothing for other kinds."""
    if history.kind != KIND:
        return ()
    view = View(history, calibration)
    verdict = before_restart(view, NAME)
    return (msgspec.structs.replace(verdict, paths=_paths(view)) if verdict.outcome == FAILED else verdict,)


def _paths(view: View) -> tuple[str, ...]:
    """The files that the check must have asked: those whose operations are missing, else all that are judged."""
    missing = {path for one in view.history.injected if one.cut is not None for path in one.cut.paths}
    judged = tuple(view.judged())
    return tuple(path for path in judged if path in missing) or judged


def relabel(verdicts: list[Verdict], history: History, calibration: Calibration) -> list[Verdict]:
    """The same verdicts with the cuts in their evidence, and with the label that they deserve."""
    cuts = [one.cut for one in history.injected if one.cut is not None]
    if history.kind != KIND or not cuts:
        return verdicts
    view = View(history, calibration)
    found = [_unpromised(view, one, cuts[-1]) if one.outcome == FAILED else one for one in verdicts]
    return [_labelled(view, verdict, cuts) if verdict.outcome == FAILED else verdict for verdict in found]


def _unpromised(view: View, verdict: Verdict, cut: Cut) -> Verdict:
    """A note where nothing is hurt but the end of a file that the program only appends to and never reads, and that end
    was promised to nobody: the cut fell right behind the write of it, or the program had reported the failing sync.
    """
    hurt, roles = set(verdict.paths), view.calibration.roles
    if verdict.oracle != "state" or verdict.consequence != "corrupt" or not hurt:
        return verdict
    if any(roles.get(path) != "output" for path in hurt) or not hurt <= only_appended(view.calibration):
        return verdict
    if "dropped" in cut.lost_kinds:
        end, clean = (view.first.end if view.first else None), view.clean
        is_open = end is not None and end.how == EXITED and end.code not in (0, clean.code if clean else 0)
    else:
        is_open = cut.before is not None and cut.after is not None and cut.after.masked in hurt
    if not is_open:
        return verdict
    text = "what is damaged had not been promised to anybody yet, and no start of the program reads this file"
    return msgspec.structs.replace(verdict, label=NOTE, evidence=(*verdict.evidence, text))


def _is_only_last_name(view: View, cut: Cut) -> bool:
    """Whether the last name alone is missing; what stands in a lock was promised to nobody."""
    roles = view.calibration.roles
    return cut.only_last_name or (bool(cut.unsynced) and all(roles.get(path) == "lock" for path in cut.unsynced))


def _labelled(view: View, verdict: Verdict, cuts: list[Cut]) -> Verdict:
    label = verdict.label
    if not all(cut.is_real for cut in cuts):
        label = NOTE
    elif label == DEFECT and verdict.consequence == "lost" and _is_only_last_name(view, cuts[-1]):
        label = POLICY
    words = list(in_words(cuts[0]))
    for cut in cuts[1:]:
        words += ["recovery itself is not crash-safe: the power went again while it ran", *in_words(cut)]
    return msgspec.structs.replace(verdict, label=label, evidence=(*verdict.evidence, *words))


def in_words(cut: Cut) -> tuple[str, ...]:
    """What was missing, where the cut fell, and under which file systems that can and cannot be."""
    missing = f"not on the disk when the power came back: {'; '.join(cut.missing)}" if cut.missing else ""
    return (_between(cut) + ("; " + missing if missing else ""), _under(cut))


def _between(cut: Cut) -> str:
    def place(operation: object) -> str:
        masked, call, site = (getattr(operation, name) for name in ("masked", "call", "site"))
        return f"{call} {masked}{shown_place(site)}"

    if cut.after is None:
        return "the cut fell before the first change"
    if cut.before is None:
        return f"the cut fell after the end, the last change being {place(cut.after)}"
    if "torn" in cut.lost_kinds:
        return f"the cut fell within {place(cut.before)}"
    after, before = place(cut.after), place(cut.before)
    if after == before:
        return f"the cut fell between {after} @{cut.after.nth} and @{cut.before.nth}"
    return f"the cut fell between {after} and {before}"


def _under(cut: Cut) -> str:
    """File systems by name; that only the loss of power does it, in words: the model of a kill is no file system."""
    can, cannot = ([name for name in names if name != _KILLED] for names in (cut.models, cut.never))
    under = [f"under {', '.join(can)}"] if can else []
    never = [f"not under {', '.join(cannot)}"] if cannot else []
    told = f"this can happen {', '.join(under + never)}" if can else "no file system is known to do this"
    if _KILLED in cut.never:
        return f"{told}; a mere kill does not do this, a power cut does"
    return f"{told}; a mere kill does it too" if _KILLED in cut.models else told
