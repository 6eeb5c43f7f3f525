"""What `--check` answers on the state that a kill or a power cut left, before anything was started again.

It is asked there only where it answers at every moment of a clean run at which an answer is legal, the moments before
the first acknowledgement among them; a check that needs a recovery first says nothing here. After a restart less is
asked: an answer that no clean run gives may name something new, so alone it decides only where it was always the same
number and is a smaller one now.
"""

from __future__ import annotations

from blackstart.core.history import Run
from blackstart.core.verdict import CHECK_ANSWERS, Verdict, failed, passed, unknown
from blackstart.oracles.compare import number_of
from blackstart.oracles.outputs import events_out
from blackstart.oracles.showing import short
from blackstart.oracles.speech import is_like, spoke
from blackstart.oracles.view import Answer, View

# So many clean answers tell that it is always the same.
_ALWAYS = 3


def before_restart(view: View, name: str) -> Verdict:
    """`corrupt` where the check fails, or answers as at no moment of a clean run; `lost` where it answers less than
    what had been acknowledged.
    """
    steps = view.check_steps()
    answer = view.check(view.first) if view.first is not None else None
    if answer is None or not steps or view.first is None:
        return passed(name)
    if any(step.code != 0 for _, step in steps):
        return passed(name, "the check fails at moments of a clean run too, so it is asked after the restart only")
    if answer.code != 0:
        said = answer.text.strip().splitlines()[-1:] or [answer.how]
        return failed(name, "corrupt", f"on the state that was left, the check ends with {answer.how}: {said[0]}")
    return _by_answer(answer, steps, events_out(view, view.first), name)


def after_restart(view: View, last: Run, name: str) -> Verdict | None:
    """`corrupt` where the check failed until a restart that said nothing of it, and now answers what no clean run does;
    `lost` where it answers one number after each clean run, and a smaller one now. None where it does not decide.
    """
    now, left = view.check(last), view.check(view.first) if view.first is not None else None
    if now is None or now.code != 0 or spoke(view, last) is not False:
        return None
    steps, odd = view.check_steps(), strange(view, last)
    if odd and left is not None and left.code != 0 and steps and all(step.code == 0 for _, step in steps):
        said = left.text.strip().splitlines()[-1:] or [left.how]
        first = f"on the state that was left, the check ends with {left.how}: {_short(said[0])}"
        texts = (first, f"the restart said nothing of it, and now {odd}")
        return failed(name, "corrupt", *texts, paths=tuple(view.judged()))
    always = [answer.text for run in view.calibration.chain if (answer := view.check_of(run)) is not None]
    if len(always) >= _ALWAYS and len(set(always)) == 1 and _is_smaller(now.text, always[0]):
        text = f"{CHECK_ANSWERS} {_short(now.text)} after the restart, and {_short(always[0])} after each clean run"
        return failed(name, "lost", text, paths=tuple(view.judged()))
    return None


def strange(view: View, last: Run) -> str:
    """A clause with a line that the check answers after the restart, and in no clean run; `` if there is none."""
    now = view.check(last)
    if now is None or now.code != 0:
        return ""
    clean = [one for run in view.calibration.chain if (one := view.check_of(run)) is not None]
    known = {
        line for answer in (*clean, *(step for _, step in view.check_steps())) for line in answer.text.splitlines()
    }
    odd = [line for line in now.text.splitlines() if line.strip() and line not in known]
    return f"{CHECK_ANSWERS} what no clean run has it answer: {_short(odd[0])}" if clean and odd else ""


def _is_smaller(text: str, always: str) -> bool:
    """Whether the lines are the same but for numbers, none of which is larger and one of which is smaller."""
    lines, known = text.split("\n"), always.split("\n")
    if len(lines) != len(known) or not all(is_like(*pair) for pair in zip(lines, known, strict=True)):
        return False
    pairs = list(zip(text.split(), always.split(), strict=False))
    numbers = [(number_of(one), number_of(other)) for one, other in pairs if one != other]
    return bool(numbers) and all(one is not None and other is not None and one < other for one, other in numbers)


def _by_answer(answer: Answer, steps: list[tuple[int, Answer]], events: int, name: str) -> Verdict:
    """Whether the answer is one of a clean run, from the acknowledged one on."""
    first = next((at for at, (reached, _) in enumerate(steps) if reached >= events), len(steps) - 1)
    allowed = [step.text for _, step in steps[first:]]
    if answer.text in allowed:
        return passed(name)
    earlier = [step.text for _, step in steps[:first]]
    if answer.text in earlier:
        return failed(name, "lost", *_said(events), f"{CHECK_ANSWERS} as it did before: {_short(answer.text)}")
    mine = set(answer.text.splitlines())
    must = set.intersection(*(set(text.splitlines()) for text in allowed))
    known = set().union(*(text.splitlines() for text in (*earlier, *allowed)))
    if not mine <= known:
        strange = sorted(mine - known)[0]
        text = f"the check gives an answer that no moment of a clean run gave: {_short(strange)}"
        return failed(name, "corrupt", text)
    if must - mine:
        gone = sorted(must - mine)[0]
        return failed(name, "lost", *_said(events), f"the check no longer answers: {_short(gone)}")
    return unknown(name, "the check's answer lies between those that were asked for in clean runs")


def _said(events: int) -> tuple[str, ...]:
    return (f"{events} {'line' if events == 1 else 'lines'} on stdout had got out before the end",) if events else ()


def _short(text: str) -> str:
    return short(text.strip().replace("\n", " | "), 120)
