"""Does something stand there twice that clean runs leave once, or not at all though what comes after it does?

Work that is taken up again after a kill is done at least once; whether twice does harm (a row that counts, an order) or
none (a line of a journal), only who wrote it knows. Work that is marked as done before it is, is done at most once: the
next run goes on behind it. So both are notes, which name the file and the first record.
"""

from __future__ import annotations

import re
from collections import Counter

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.reading import FileState
from blackstart.core.units import plural
from blackstart.core.verdict import NOTE, Verdict, failed, passed
from blackstart.oracles.compare import leaves_of
from blackstart.oracles.legal import versions_of
from blackstart.oracles.showing import short
from blackstart.oracles.view import View

NAME = "twice"
_FORMS = {"sqlite": "row", "text": "line"}
_SHORTEST = 3  # characters of a line; a shorter one (a brace, a rule) is no record
_NUMBER = re.compile(r"[0-9]+")


def judge(history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    """A note for each file with records twice that clean runs leave once, or without some, after one restart."""
    view = View(history, calibration)
    if not view.is_left_to_a_check or len(view.restarts) != 1:
        return (passed(NAME, "nothing here is done twice, or the check tells"),)
    found = [one for path in view.judged() for one in (_judge_file(view, path), _passed_over(view, path)) if one]
    return tuple(found) or (passed(NAME),)


def _judge_file(view: View, path: str) -> Verdict | None:
    assert view.clean is not None
    state = view.state(view.restarts[-1], path)
    finals = [run.files.get(path) for run in (view.clean, *view.later[: view.reruns])]
    known = [_records(final) for final in finals]
    most = {record: max(one[record] for one in known) for one in known for record in one}
    twice = [record for record, count in _records(state).items() if count > 1 and most.get(record) == 1]
    if not twice or state is None or state.content is None:
        return None
    many = plural(len(twice), _FORMS[state.content.form])
    text = f"after the restart {path} holds {many} twice that clean runs leave once, the first: {short(twice[0])}"
    doubt = "what was done before the kill was done again; whether that does harm, only --check can tell"
    return failed(NAME, "corrupt", text, doubt, paths=(path,), label=NOTE)


def _passed_over(view: View, path: str) -> Verdict | None:
    """`lost`, where records only ever come to others: those that each clean run adds first are missing, and some of
    those that come after them are there.

    Where as many are there that differ from the missing ones in their numbers alone, the restart went on counting.
    """
    assert view.clean is not None
    state = view.state(view.restarts[-1], path)
    finals = [run.files.get(path) for run in (view.clean, *view.later[: view.reruns])]
    if state is None or state.content is None or len(finals) <= view.reruns:
        return None
    old, low, high = (_records(one) for one in (versions_of(view, path)[0], finals[0], finals[-1]))
    now = _records(state)
    grows, is_behind = old <= low <= high, now <= low
    missing = low - now
    if not grows or is_behind or not now <= high or not old <= now or not _plain(missing) - _plain(now - low):
        return None
    first = next(record for record in low if record in missing)
    many = plural(missing.total(), _FORMS[state.content.form])
    text = f"after the restart {path} lacks {many} that every clean run leaves, and holds what comes after, the first"
    doubt = "what was begun before the kill was passed over; whether it may be, only --check can tell"
    return failed(NAME, "lost", f"{text}: {short(first)}", doubt, paths=(path,), label=NOTE)


def _plain(records: Counter[str]) -> Counter[str]:
    """The records without their numbers."""
    plain: Counter[str] = Counter()
    for record, count in records.items():
        plain[_NUMBER.sub("#", record)] += count
    return plain


def _records(state: FileState | None) -> Counter[str]:
    """Each row or line, and how often it is there; none whose values are masked, as they may differ."""
    form = state.content.form if state is not None and state.content is not None else ""
    leaves = leaves_of(state)
    if form not in _FORMS or leaves is None:
        return Counter()
    records = [value for _, value in leaves] if form == "text" else _rows(leaves)
    return Counter(one for one in records if "*" not in one and len(one) >= _SHORTEST)


def _rows(leaves: tuple[tuple[str, str], ...]) -> list[str]:
    """Each row of a database with its table and columns; leaves: `TABLE/ROW/COLUMN` and the value."""
    rows: dict[str, list[str]] = {}
    for place, value in leaves:
        if place.count("/") == 2:
            row, _, column = place.rpartition("/")
            rows.setdefault(row, []).append(f"{column}={value}")
    return [f"{row.partition('/')[0]}: {', '.join(values)}" for row, values in rows.items()]
