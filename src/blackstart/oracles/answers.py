"""What `--check` answers on the state that a kill or a power cut left, before anything was started again.

It is asked there only where it answers at every moment of a clean run at which an answer is legal, the moments before
the first acknowledgement among them; a check that needs a recovery first says nothing here.
"""

from __future__ import annotations

from blackstart.core.verdict import Verdict, failed, passed, unknown
from blackstart.oracles.outputs import events_out
from blackstart.oracles.view import Answer, View


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


def _by_answer(answer: Answer, steps: list[tuple[int, Answer]], events: int, name: str) -> Verdict:
    """Whether the answer is one of a clean run, from the acknowledged one on."""
    first = next((at for at, (reached, _) in enumerate(steps) if reached >= events), len(steps) - 1)
    allowed = [step.text for _, step in steps[first:]]
    if answer.text in allowed:
        return passed(name)
    earlier = [step.text for _, step in steps[:first]]
    if answer.text in earlier:
        return failed(name, "lost", *_said(events), f"the check answers as it did before: {_short(answer.text)}")
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
    line = text.strip().replace("\n", " | ")
    return line if len(line) <= 120 else line[:119] + "…"
