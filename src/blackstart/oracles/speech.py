"""What the target told: a message (it speaks of trouble), or only an answer (what it always prints, with other values).

A wrong answer in place of a clean one is no message: whoever reads it learns nothing of the damage. In doubt a line
is a message, since a false alarm costs more than a miss: every new line on stderr, every line that speaks of
trouble, and every line that is not made as a line of the clean run is.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from blackstart.core.history import Run
from blackstart.core.masking import same
from blackstart.core.reading import FileState
from blackstart.oracles.view import View

# Beginnings of words with which programs speak of trouble, or of what they did about it.
_TROUBLE = re.compile(
    r"\b(err(or|no|s?\b)|fail|fault|fatal|panic|abort|exception|traceback|warn|cannot|can'?t\b|can not|couldn'?t|"
    r"could not|"
    r"won'?t|unable|not\b|no such|no space|invalid|illegal|corrupt|damag|broken|bad\b|malformed|garbage|missing|lost\b|"
    r"denied|refus|reject|ignor|skip|discard|unread|unknown|unexpected|incomplete|partial|truncat|mismatch|default|reset|"
    r"recover|restor|repair|rebuil|recreat|re-creat|regenerat|fallback|fall(ing|s)? back|retry|retri|degrad|afresh|"
    r"anew|backup|set aside|quarantin|stale|expired|interrupt|disk full|read-only)",
    re.IGNORECASE,
)
# A line that says something: not only a mark below the place of an error, a rule or a bracket.
_WORDS = re.compile(r"\w\w")
# What an exception is told by, where a stack or a version may follow it.
_EXCEPTION = re.compile(r"(Uncaught |Unhandled )?([\w.$]*(Error|Exception)|panic)\b[^:]{0,40}:|(fatal|error): ")
# A line of a stack that follows what was said.
_FRAME = re.compile(r"\s+(from|at)\s")
_NUMBER = re.compile(r"[-+]?\d+([.,:]\d+)*")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# `name: value` and `name = value`, as settings and sums are printed.
_NAMED = re.compile(r"\s*([\w$][\w $./-]{0,39}?)\s*[:=]\s*\S")


def spoke(view: View, run: Run) -> bool | None:
    """Whether the run gave a message that the clean run does not give; None if that cannot be told.

    An exit status of its own is a message, and so is a log that got other lines than answers.
    """
    clean = view.clean
    assert clean is not None
    hopeless = view.calibration.mask.hopeless
    if run.end.code != clean.code:
        return True
    unclear = False
    for stream, expected in (("stderr", clean.stderr), ("stdout", clean.stdout)):
        if stream in hopeless:
            unclear = True
        elif message(view.text(run, stream), expected, any_line=stream == "stderr"):
            return True
    for path, role in view.calibration.roles.items():
        if role != "log":
            continue
        if path in hopeless:
            unclear = True
        elif _is_told_in(view.state(run, path), clean.files.get(path)):
            return True
    return None if unclear else False


def saying(view: View, run: Run) -> str:
    """`, saying: …` with the exception that ended it, else the last line on stderr that has words; `` if none."""
    lines = [line.rstrip() for line in view.text(run, "stderr").splitlines() if _WORDS.search(line)]
    told = [line for line in lines if not _FRAME.match(line)] or lines
    chosen = [line for line in told if _EXCEPTION.match(line)] or told
    return f", saying: {chosen[-1].strip()[:200]}" if chosen else ""


def saying_anywhere(view: View, run: Run) -> str:
    """The same; of a program that says nothing on stderr, the last line on stdout that no clean run says."""
    known = view.clean.stdout.split("\n") if view.clean is not None else []
    lines = [line.strip() for line in _new(view.text(run, "stdout").split("\n"), known) if _WORDS.search(line)]
    return saying(view, run) or (f", saying: {lines[-1][:200]}" if lines else "")


def message(text: str, clean: str, *, any_line: bool = False) -> str:
    """The first line that is a message; `` if there is none. any_line: every line that the clean run lacks is one."""
    known = clean.split("\n")
    shapes = {_shape(line) for line in known}
    for line in _new(text.split("\n"), known):
        if any_line or _TROUBLE.search(line) or _shape(line) not in shapes:
            return line
    return ""


def other_answer(text: str, clean: str) -> tuple[str, str] | None:
    """(what is said, what a clean run says) of the first answer that has another value; None if there is none.

    A line that is only missing is no other answer, and neither is one more of them: what a program lists may have
    grown or shrunk for good reasons.
    """
    known, seen = clean.split("\n"), text.split("\n")
    missing = _new(known, seen)
    for line in _new(seen, known):
        instead = next((one for one in missing if _shape(one) == _shape(line)), None)
        if instead is not None:
            return line.strip(), instead.strip()
    return None


def is_like(line: str, other: str) -> bool:
    """Whether two lines say the same of other values."""
    return _shape(line) == _shape(other)


def _new(lines: list[str], known: list[str]) -> list[str]:
    """The lines that are not among the known ones, each as often as it is one too many."""
    left = Counter(known)
    found = []
    for line in lines:
        if left[line] > 0:
            left[line] -= 1
        elif line.strip():
            found.append(line)
    return found


def _shape(line: str) -> str:
    """What stays the same when only the values of a line are others."""
    plain = line.strip()
    if plain[:1] in ("{", "["):
        try:
            value = json.loads(plain)
        except ValueError:
            pass
        else:
            return type(value).__name__
    named = _NAMED.match(plain)
    if named:
        return _NUMBER.sub("0", named[1])
    return _NUMBER.sub("0", _QUOTED.sub("''", plain))


def _is_told_in(log: FileState | None, clean: FileState | None) -> bool:
    """Whether a log holds a message that the clean run's does not."""
    if same(log, clean) or log is None:
        return False
    texts = [_text(state) for state in (log, clean)]
    if texts[0] is None or texts[1] is None:
        return True
    return bool(message(texts[0], texts[1]))


def _text(state: FileState | None) -> str | None:
    """The lines of a text; None where they are not known."""
    if state is None or not state.size:
        return ""
    content = state.content
    if content is None or content.form != "text" or content.error or content.count != len(content.leaves):
        return None
    return "\n".join(value for _, value in content.leaves)
