"""Small checkers of what is read back: a set, a counter, a register, a queue, an append-only log.

Each compares the acts of a workload with what was read afterwards. `ok` must be there; `info` and `fail` may be there
or not: who refuses because a sync failed, say, has often written already. A checker says only what no order of the
unknown ones could explain, as Jepsen's do. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from blackstart.core.history import Act
from blackstart.core.verdict import ARE_GONE

OK = "ok"


class Judgement(msgspec.Struct, frozen=True):
    """lost: acknowledged and not there; wrong: a sentence for each thing that no possible order explains;
    short: how much is missing, where nobody can say what.
    """

    lost: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    short: str = ""


def acknowledged(acts: Iterable[Act]) -> tuple[str, ...]:
    """The ids of acknowledged acts, each once, in order."""
    return tuple(dict.fromkeys(act.id for act in acts if act.how == OK))


def check_set(acts: Sequence[Act], have: Sequence[str], known: frozenset[str] = frozenset()) -> Judgement:
    """Ids were added; `have` holds those that are read back, `known` those that clean runs have there too."""
    there = set(have)
    lost = tuple(one for one in acknowledged(acts) if one not in there)
    tried = {act.id for act in acts} | known
    made_up = sorted(there - tried)
    return Judgement(lost, tuple(f"{one} is there, and nobody added it" for one in made_up))


def check_counter(acts: Sequence[Act], base: int, value: int) -> Judgement:
    """Each act added one to a counter that stood at `base`."""
    low = base + sum(act.how == OK for act in acts)
    high = base + len(acts)
    if value < low:
        return Judgement(short=f"{low - value} of {low - base} increments{ARE_GONE}the count is {value}")
    return Judgement() if value <= high else Judgement((), (f"the count is {value}, more than {high} can explain",))


def check_register(acts: Sequence[Act], value: str, before: str | None = None) -> Judgement:
    """Each act wrote its id to one place, one after the other; before: what stood there at first, if known."""
    kept = [index for index, act in enumerate(acts) if act.how == OK]
    last = kept[-1] if kept else -1
    possible = {act.id for act in acts if act.how != OK} | ({acts[last].id} if kept else set())
    if value in possible or (not kept and (before is None or value == before)):
        return Judgement()
    if value == before or value in {act.id for act in acts[: max(last, 0)] if act.how == OK}:
        return Judgement((acts[last].id,))
    return Judgement((), (f"the value is {value!r}, which nobody wrote",))


def check_log(acts: Sequence[Act], entries: Sequence[str]) -> Judgement:
    """Ids were appended in order: the acknowledged ones must be there in that order. One whose first try had no answer,
    and which was tried again, may stand where either put it.
    """
    there = set(entries)
    lost = tuple(one for one in acknowledged(acts) if one not in there)
    place = {one: at for at, one in reversed(list(enumerate(entries)))}
    at_first = {act.id: act.how for act in reversed(acts)}
    kept = [one for one in acknowledged(acts) if one in place and at_first[one] == OK]
    wrong = [f"{two} comes before {one}" for one, two in pairwise(kept) if place[two] < place[one]]
    return Judgement(lost, tuple(wrong))


def check_queue(acts: Sequence[Act], taken: Sequence[str], usual: Sequence[str] = ()) -> Judgement:
    """Ids were put in; all that was taken out afterwards: each acknowledged one at least once, and none twice.

    usual: what is taken out after a clean run, which holds an id as often as earlier runs have put in the same.
    """
    counts = Counter(taken)
    lost = tuple(one for one in acknowledged(acts) if one not in counts)
    once, before = Counter(act.id for act in acts), Counter(usual)
    most = {one: max(once[one], before[one], 1) for one in counts}
    wrong = tuple(f"{one} was taken {n} times" for one, n in sorted(counts.items()) if n > most[one])
    return Judgement(lost, wrong)
