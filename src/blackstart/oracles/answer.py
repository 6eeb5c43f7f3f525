"""Is the answer still right where the program says nothing?

Two faults must not change an answer in silence: damage to a cache, whose loss changes none (its deletion trial showed
it), and an error at a read of the program's own state. A program that meets one may end with an error or say so; to go
on as if nothing were there, and to answer otherwise with exit status 0, deceives whoever asked. Damaged *state* is no
such case: of what it makes of that nobody knows what is right.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, History
from blackstart.core.verdict import ENDED_WELL, Verdict, failed, passed, unknown
from blackstart.oracles.speech import other_answer, spoke
from blackstart.oracles.view import DAMAGE_KINDS, View

NAME = "answer"
_OWN = ("state", "cache")


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`silent` if a line on stdout has another value than in the clean run, and nothing else was said."""
    view = View(history, calibration)
    paths = _concerned(view)
    if not paths and history.kind != "null":
        return (passed(NAME, "this fault may change answers"),)
    if view.clean is None or view.first is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    if view.first.end.how != EXITED or view.clean.code != 0 or "stdout" in calibration.mask.hopeless:
        return (passed(NAME, "it gave no answer that could be compared"),)
    others = other_answer(view.text(view.first, "stdout"), view.clean.stdout)
    if others is None or spoke(view, view.first) is not False:
        return (passed(NAME),)
    said, expected = (text if len(text) <= 100 else text[:99] + "…" for text in others)
    head = f"{ENDED_WELL} and said nothing, but gave another answer"
    return (failed(NAME, "silent", head, f"it printed `{said}`; clean runs print `{expected}`", paths=paths),)


def _concerned(view: View) -> tuple[str, ...]:
    """The caches that were damaged, or the own files at whose reading an error was given; () if neither."""
    roles = view.calibration.roles
    if view.history.kind in DAMAGE_KINDS:
        damaged = sorted(view.damaged())
        return tuple(damaged) if all(roles.get(path) == "cache" for path in damaged) else ()
    operations = [one.operation for one in view.history.injected if one.fired and one.operation is not None]
    if view.history.kind != "errno" or not operations or not all(one.reads for one in operations):
        return ()
    paths = tuple(dict.fromkeys(one.masked for one in operations))
    return paths if all(roles.get(path) in _OWN for path in paths) else ()
