"""Does a service keep what it acknowledged to its workload?

`--check` is asked while the service is up after the restart. It gets the ids that were acknowledged. Where it prints
what it reads, we compare; the first word of a line says what sort of thing it is:

    have ID     a set            count N     a counter        value V     a register
    entry ID    a log, in order  next ID     a queue, as taken out
    lost ID     the check itself misses this one

Otherwise its exit status decides: other than 0 is `corrupt`, or `lost` where it named what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from blackstart.core.calibration import Calibration
from blackstart.core.history import Act, History, Life
from blackstart.core.verdict import ARE_GONE, DEFECT, POLICY, Verdict, failed, passed, unknown
from blackstart.oracles.checkers import (
    Judgement,
    acknowledged,
    check_counter,
    check_log,
    check_queue,
    check_register,
    check_set,
)
from blackstart.oracles.view import CLOCK_KINDS, DAMAGE_KINDS, Answer, View

NAME = "acknowledged"
_NAMED_MAX = 5
# Those who use it badly ask for things of their own: what they left is no work of the service's.
_CLIENTS = "clients"
_DIGITS = re.compile("[0-9]+")
_TELLING = ("have", "count", "value", "entry", "next", "lost")
# What the kernel had accepted outlives these; only what was never given to it is gone.
_WRITE_BEHIND_KINDS = ("kill", "errno", "signal", "kill-one", "limit", "disk", "time", "power")


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """`lost` or `corrupt`, of the last start that answered; label policy where the service writes behind."""
    view = View(history, calibration)
    if view.clean is None or view.first is None or view.clean.life is None:
        return (unknown(NAME, f"there is no clean run from {history.start} to compare with"),)
    if history.kind in DAMAGE_KINDS:
        return (passed(NAME, "the damage is the fault's own"),)
    acts = _asked(view.first.life, view.clean.life.acts) if view.first.life else ()
    if not calibration.has_check:
        return (passed(NAME, "no --check says what it still has"),)
    clean = view.answer_as_it_is(view.clean.check)
    for run in [run for run in view.restarts if run.readings][-1:]:
        answer = view.answer_as_it_is(run.readings[0].value, run.readings[0].error)
        if answer.code < 0:
            return (unknown(NAME, f"the check after the {run.phase}: {answer.how}"),)
        closing = _closing(clean.text) if _sorted(clean.text) else ""
        if answer.code == 0 and closing and _closing(answer.text) != closing:
            return (
                unknown(NAME, f"the answer of the check after the {run.phase} breaks off: no `{closing}` at its end"),
            )
        if answer.code == 0 and history.kind in CLOCK_KINDS:
            return (passed(NAME, "what it keeps may depend on the time, which was changed"),)
        found = compare(acts, answer, clean, view.clean.life.acts, has_others=history.kind == _CLIENTS)
        if found.lost or found.short or found.wrong:
            return (_failure(view, found, acts, run.phase),)
    return (passed(NAME),)


def _asked(life: Life, clean: Sequence[Act]) -> tuple[Act, ...]:
    """All that was asked for, with what a workload that did not come to its end may have asked for without a word.

    A client that tries again after a pause says nothing yet of what it was cut off in.
    """
    runs = [(life.acts, life.workload)] + ([(life.again, life.again_workload)] if life.again else [])
    cut = [len(acts) for acts, end in runs if not end.is_whole]
    unsaid = [msgspec.structs.replace(act, how="info") for said in cut for act in clean[said:]]
    return (*life.asked, *unsaid)


def compare(
    acts: Sequence[Act], answer: Answer, clean: Answer, clean_acts: Sequence[Act], has_others: bool = False
) -> Judgement:
    """What the answer says of these acts, against the answer of a clean run.

    has_others: others than the workload asked things of it too, so that only what is missing tells anything.
    """
    read, usual = _sorted(answer.text), _sorted(clean.text)
    lost: list[str] = list(read.get("lost", ()))
    wrong: list[str] = []
    short = ""
    for found in _each(acts, read, usual, clean_acts):
        lost += [one for one in found.lost if one not in lost]
        short = short or found.short
        wrong += () if has_others else found.wrong
    if answer.code != 0 and not (lost or short or wrong) and clean.code == 0:
        said = answer.text.strip().splitlines()
        wrong.append(f"the check fails ({answer.how}{': ' + said[-1][:200] if said else ''})")
    return Judgement(tuple(lost), tuple(wrong), short)


def _each(
    acts: Sequence[Act], read: dict[str, list[str]], usual: dict[str, list[str]], clean_acts: Sequence[Act]
) -> list[Judgement]:
    found = []
    if "have" in usual:
        found.append(check_set(acts, read.get("have", []), frozenset(usual["have"])))
    if "entry" in usual:
        found.append(check_log(acts, read.get("entry", [])))
    if "next" in usual:
        found.append(check_queue(acts, read.get("next", []), usual["next"]))
    if "value" in read and "value" in usual:
        found.append(check_register(acts, read["value"][-1]))
    counted, base = _number(read.get("count")), _number(usual.get("count"))
    if counted is not None and base is not None:
        found.append(check_counter(acts, base - sum(act.how == "ok" for act in clean_acts), counted))
    return found


def _closing(text: str) -> str:
    """The last line, its numbers as `#`, where it does not itself tell what the service has; `` else.

    The status of a pipe is that of its last command: an answer cut off in the middle looks like a loss without it. A
    check that ends with another status than 0 has said what it thinks.
    """
    last = text.strip().rpartition("\n")[2].strip()
    return "" if last.partition(" ")[0] in _TELLING else _DIGITS.sub("#", last)


def _sorted(text: str) -> dict[str, list[str]]:
    """First word -> what follows it, line by line."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if rest.strip() and word in _TELLING:
            found.setdefault(word, []).append(rest.strip())
    return found


def _number(words: list[str] | None) -> int | None:
    return int(words[-1]) if words and words[-1].lstrip("-").isdecimal() else None


def _failure(view: View, found: Judgement, acts: Sequence[Act], when: str) -> Verdict:
    texts = []
    if found.lost:
        named = ", ".join(found.lost[:_NAMED_MAX]) + (" …" if len(found.lost) > _NAMED_MAX else "")
        gone = f"{len(found.lost)} {'is' if len(found.lost) == 1 else 'are'}{ARE_GONE}{named}"
    if found.lost or found.short:
        total = len(acknowledged(acts))
        told = f"{total} {'was' if total == 1 else 'were'} acknowledged; after the {when}"
        texts.append(f"{told} {gone if found.lost else found.short}")
    texts += found.wrong[:_NAMED_MAX]
    if found.wrong:
        return failed(NAME, "corrupt", *texts)
    behind = view.calibration.write_behind if view.history.kind in _WRITE_BEHIND_KINDS else ""
    return failed(NAME, "lost", *texts, *([behind] if behind else []), label=POLICY if behind else DEFECT)
