"""The verbs of a rule and what may stand in their parentheses.

Apart from the reader of rules, so that a verb is added in one place: its row in `VERBS`, its check if its argument
has a form. A check gives the fault and its place in the argument; who reads the rule turns that into a caret.
"""

from __future__ import annotations

import builtins
import difflib
import errno
import re
from collections.abc import Callable, Collection

import msgspec

from blackstart.core.units import UnitError, parse_duration

# What each verb does, in the words of the documentation.
VERBS = {
    "off": "do nothing, and do not look at later terms",
    "raise": "the operation fails with this exception or errno",
    "return": "the operation gives this value, or so many bytes, instead of its own",
    "sleep": "wait, then go on",
    "delay": "wait with the processor busy where the mechanism can, then go on",
    "hang": "the operation never comes back until the fault is healed",
    "yield": "let other threads or tasks run, then go on",
    "print": "write this text, then go on",
    "pause": "stop at this point until the fault is healed, then go on",
    "kill": "SIGKILL, before the operation, or after it with kill(after)",
    "exit": "end the process with this status, without clean-up",
    "call": "call this function, then go on",
    "panic": "the operation fails with an exception that no program expects",
}
_EXCEPTION_NAMES = sorted(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)
_ERRNO_NAMES = sorted(name for name in vars(errno) if name.startswith("E") and name.isupper())
# What getaddrinfo fails with: numbers of its own, which are no errnos, and the words that the C library has for them.
ADDRESS_ERRORS = {
    "EAI_AGAIN": "Temporary failure in name resolution",
    "EAI_FAIL": "Non-recoverable failure in name resolution",
    "EAI_MEMORY": "Memory allocation failure",
    "EAI_NODATA": "No address associated with hostname",
    "EAI_NONAME": "Name or service not known",
}
_OF_ADDRESSES = "socket.gaierror"

_NAME = re.compile(r"[^\W\d]\w*")
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
ONE_LINE = "a rule is one line without control characters"


class ArgumentFault(msgspec.Struct, frozen=True):
    """What is wrong with an argument, and where in it."""

    what: str
    at: int = 0
    next_step: str = ""


def argument_fault(verb: str, argument: str | None) -> ArgumentFault | None:
    """What is wrong with this argument of this verb, if anything."""
    assert verb in VERBS, verb
    text = argument or ""
    for at, character in enumerate(text):
        if not is_allowed(character):
            return ArgumentFault(ONE_LINE, at)
    if closing(f"({text})", 0) != len(text) + 1:
        return ArgumentFault("parentheses in an argument must be balanced")
    if not text.strip() and verb in _NEEDED:
        return ArgumentFault(f"{verb} needs {_NEEDED[verb]}")
    if argument is not None and verb in _TAKES_NOTHING:
        return ArgumentFault(f"{verb} takes no argument")
    check = _CHECKS.get(verb)
    return check(text) if check and argument is not None else None


def _exception_fault(text: str) -> ArgumentFault | None:
    name, colon, number = text.partition(":")
    start = len(name) - len(name.lstrip())
    name = name.strip()
    if not _DOTTED.fullmatch(name) and name not in _EXCEPTION_NAMES:
        if not _NAME.fullmatch(name):
            return ArgumentFault(
                f"{name!r} is not the name of an exception", start, "write it like raise(OSError: EIO)"
            )
        if name.upper() in _ERRNO_NAMES:
            advice = f"write raise(OSError: {name.upper()})"
            return ArgumentFault(f"{name} is an errno, not an exception", start, advice)
        advice = "a builtin exception by its name, any other by its dotted path, such as shop.errors.Broken"
        return ArgumentFault(f"no builtin exception {name!r}{near(name, _EXCEPTION_NAMES)}", start, advice)
    if not colon:
        return None
    at = text.index(":") + 1 + len(number) - len(number.lstrip())
    if name in _EXCEPTION_NAMES and not issubclass(getattr(builtins, name), OSError):
        return ArgumentFault(f"{name} has no errno; only OSError and its subclasses have one", text.index(":"))
    if not number.strip():
        return ArgumentFault(f"{name}: needs the name of an errno, such as EIO", text.index(":"))
    known, what = (ADDRESS_ERRORS, "error of getaddrinfo") if name == _OF_ADDRESSES else (_ERRNO_NAMES, "errno")
    if number.strip() not in known:
        return ArgumentFault(f"no {what} {number.strip()!r}{near(number.strip(), known)}", at)
    return None


def _duration_fault(text: str) -> ArgumentFault | None:
    try:
        parse_duration(text, bare="ms")
    except UnitError as error:
        return ArgumentFault(error.what, next_step=error.next_step)
    return None


def _kill_fault(text: str) -> ArgumentFault | None:
    return None if text == "after" else ArgumentFault(f"kill takes no argument but 'after', not {text!r}")


def _exit_fault(text: str) -> ArgumentFault | None:
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= 255:
        return None
    return ArgumentFault(f"an exit status is a number from 0 to 255, not {text!r}")


def _call_fault(text: str) -> ArgumentFault | None:
    if _DOTTED.fullmatch(text):
        return None
    return ArgumentFault(f"{text!r} is not a dotted path", next_step="write it like call(shop.testing.note)")


_TAKES_NOTHING = frozenset({"off", "hang", "yield", "pause"})
_NEEDED = {
    "raise": "an exception, such as raise(OSError: EIO)",
    "sleep": "a duration, such as sleep(50ms)",
    "delay": "a duration, such as delay(50ms)",
    "call": "a function, such as call(shop.testing.note)",
}
_CHECKS: dict[str, Callable[[str], ArgumentFault | None]] = {
    "raise": _exception_fault,
    "sleep": _duration_fault,
    "delay": _duration_fault,
    "kill": _kill_fault,
    "exit": _exit_fault,
    "call": _call_fault,
}


def closing(text: str, opening: int) -> int:
    """Where the parenthesis at `opening` is closed; -1 if it is not."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return -1


def is_allowed(character: str) -> bool:
    # Bytes of a command line that are no UTF-8 arrive as lone surrogates and are let through.
    return character.isprintable() or "\udc80" <= character <= "\udcff"


def near(word: str, names: Collection[str]) -> str:
    """`; did you mean 'x'?` for the nearest name, if one is near."""
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""
