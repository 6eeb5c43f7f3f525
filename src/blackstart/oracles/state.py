"""Is what the target keeps still legal after its own recovery?

Only state and output files, only after a restart, only against what clean runs did. First level that applies: the
answer of `--check`; the logical content; that it reads as all its clean versions did.
"""

from __future__ import annotations

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.verdict import Verdict, failed, passed, unknown
from blackstart.oracles import damage
from blackstart.oracles.legal import CORRUPT, LEGAL, LOST, legal_after
from blackstart.oracles.outputs import reached
from blackstart.oracles.view import DAMAGE_KINDS, View

NAME = "state"


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`lost` or `corrupt` for each kind of trouble found, else one verdict."""
    view = View(history, calibration)
    if history.kind in DAMAGE_KINDS:
        return damage.judge_state(view, NAME)
    if calibration.refuses_rerun:
        return (passed(NAME, "the program refuses a second run, so recovery by re-run does not apply"),)
    if view.clean is None or view.first is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    if not view.restarts:
        return (unknown(NAME, "the target was not restarted"),)
    last = view.restarts[-1]
    check = view.check(last)
    if calibration.has_check and check is not None and view.clean.check_code == 0:
        answer = _by_check(view, check.value, check.error)
        if answer is not None:
            return (answer,)
    return _by_content(view, recovered=view.ends_as_clean(last))


def _by_check(view: View, value: str, error: str) -> Verdict | None:
    """What the check's answer says; None where it does not decide."""
    assert view.clean is not None
    if error:
        return failed(NAME, "corrupt", f"the check fails after the restart: {error}")
    answers = {run.check for run in (view.clean, *view.later[: len(view.restarts)])}
    seen = view.masker.text("check", value.encode("utf-8", "surrogateescape"))
    if seen.strip() and seen in answers:
        return passed(NAME, "the check gives an answer of a clean run")
    return None


def _by_content(view: View, *, recovered: bool) -> tuple[Verdict, ...]:
    last = view.restarts[-1]
    found: dict[str, list[tuple[str, str]]] = {LOST: [], CORRUPT: []}
    unsure: list[str] = []
    for path in view.judged():
        legal = legal_after(view, path, recovered=recovered)
        state = view.state(last, path)
        outcome = legal.judge(state)
        if outcome in found:
            if not recovered and _is_only_half_made(view, path):
                continue
            found[outcome].append((path, legal.sentence(path, state)))
        elif outcome != LEGAL:
            unsure.append(path)
    verdicts = tuple(
        failed(NAME, consequence, *(text for _, text in items), paths=[path for path, _ in items])
        for consequence, items in found.items()
        if items
    )
    if verdicts:
        return verdicts
    if unsure:
        return (unknown(NAME, f"clean runs do not tell whether the content of {', '.join(unsure)} is legal"),)
    return (passed(NAME),)


def _is_only_half_made(view: View, path: str) -> bool:
    """Whether nothing was lost but a file that the broken run itself had begun: then it is `restart`'s to judge.

    So it is where no such file stood at the start, its removal made the restart work, and no output event had
    acknowledged a version of it.
    """
    assert view.clean is not None
    versions = view.clean.versions.get(path, (None,))
    helped = [reset for reset in view.history.resets if reset.helped and not reset.put_back]
    removed = {view.masker(p) for reset in helped for p in reset.removed}
    if versions[0] is not None or path not in removed:
        return False
    return reached(view).get(path, 0) == 0
