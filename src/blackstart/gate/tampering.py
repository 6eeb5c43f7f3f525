"""What is to be done to which calls: Match × Rule = Tamper; what was done: Firing.

A hit is an operation that matches in call, masked path, kind and context; the rule counts hits, and decides. Where one
particular operation was planned, the one that is hit must be it: same call, masked path, count, kind and flags, and
the same innermost function if both are known. Otherwise the firing says that the program has drifted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Protocol

import msgspec

from blackstart.core.randomness import Source
from blackstart.core.rule import Rule, RuleError, Term
from blackstart.core.rule import refuse as refuse_verbs
from blackstart.core.trace import Operation
from blackstart.gate import calls as tables
from blackstart.gate.callsite import is_installation
from blackstart.gate.errnos import possible

# The verb of a tamper that acts: the call itself is only let go at once.
HERE = "delay(0s)"
VERBS = frozenset({"off", "raise", "return", "sleep", "delay", "hang", "pause", "kill"})
# Calls whose `return(n)` is a short write: the gate carries out n bytes of it.
SHORTENED = tables.WRITES
_DECIDED_MAX = 65536


class Caller(Protocol):
    """What may be asked about the call that waits; see `looking`."""

    @property
    def process(self) -> int: ...
    @property
    def descriptor(self) -> int: ...
    def is_short(self, of: str) -> bool: ...


class Match(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which operations are hits.

    call: a name, several as `write|pwrite64`, a group such as `growing`, or `*`;
    path: the masked path, with `*` for any text and `|` between alternatives; kind: such as `file|directory`, or "";
    context: `function:file` of the innermost frame of the target's own code, "" for any;
    opening: which opens are hits: `new` (it would make a file), `writing` (it would make, empty or change one), "" all;
    exact: the path is one masked path as it stands, in which `*` and `|` mean themselves;
    short: only calls that the kernel will refuse for want of this (see looking.SHORTAGES), "" for all.
    """

    call: str
    path: str = "*"
    kind: str = ""
    context: str = ""
    opening: str = ""
    exact: bool = False
    short: str = ""


class Tamper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to do at the hits; planned: the operation that the first firing must be, if one was chosen;
    after: the index of another tamper, without whose firing this one sleeps (a disk that fills at one write is full);
    act: what is done where the rule says so, before the call goes on untouched (`HERE` is the rule for that). It is
    given the caller, and answers whether it did it, with a note.
    """

    match: Match
    rule: Rule
    planned: Operation | None = None
    after: int | None = None
    act: Callable[[Caller], tuple[bool, str]] | None = None


class Firing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action that was taken.

    verb: as in the rule; matched: whether it was the planned operation (None: nothing particular was planned, or it is
    not the first firing); delivered: the action took place; note: why it did not, or what is to be known of it;
    stack: where the program was, exactly (`file:function:line`, innermost first), if stacks were asked for.
    """

    tamper_index: int
    operation: Operation
    verb: str
    matched: bool | None = None
    delivered: bool = True
    note: str = ""
    stack: tuple[str, ...] = ()


def context_of(operation: Operation) -> str:
    """`function:file` of the innermost frame that is not of the interpreter's own library; "" if unknown.

    Lines are left out: they move with every edit.
    """
    chosen = None
    for frame in operation.site:
        file, function, _ = frame.rsplit(":", 2)
        if chosen is None:
            chosen = f"{function}:{file}"
        if not is_installation(file):
            return f"{function}:{file}"
    return chosen or ""


def pattern(text: str) -> re.Pattern[str]:
    """The expression that a path pattern means; only `*` and `|` are special."""
    alternatives = (".*".join(map(re.escape, part.split("*"))) for part in text.split("|"))
    return re.compile("|".join(alternatives), re.DOTALL)


def disk_full(path: str = "*") -> Match:
    """Every call that may need more room, at these paths."""
    return Match(call="growing", path=path, kind="file|directory", opening="new")


def read_only(path: str = "*") -> Match:
    """Every call that changes something, at these paths."""
    return Match(call="modifying", path=path, kind="file|directory", opening="writing")


def matching(call: str, path: str = "*") -> Match:
    """The calls of this name at these paths; the groups `growing` and `modifying` as a disk that is full, or read-only,
    means them: it lets a file that is there be opened.
    """
    of_disks = {"growing": disk_full, "modifying": read_only}
    return of_disks[call](path) if call in of_disks else Match(call=call, path=path)


def refuse(rule: Rule, match: Match) -> None:
    """Raise a BlackstartError if the gate cannot do this rule at these calls, naming what it can do."""
    refuse_verbs(rule, VERBS, "the gate")
    calls = tables.expand(match.call)
    for term in rule.terms:
        text = str(rule)
        at = text.index(str(term))
        if term.verb == "raise" and not term.exception.errno:
            raise RuleError(
                "the gate needs an errno: a system call cannot raise anything else",
                text=text,
                at=at,
                next_step="write raise(OSError: EIO)",
            )
        if term.verb == "raise" and not any(term.exception.errno in possible(call) for call in calls):
            raise RuleError(
                f"{match.call} cannot give {term.exception.errno}",
                text=text,
                at=at,
                next_step=f"it can give: {' '.join(sorted(set().union(*map(possible, calls))))}",
            )
        if term.verb == "return" and (term.number is None or term.number < 0 or not calls <= SHORTENED):
            raise RuleError(
                "at the gate, return(n) is a short write of n bytes",
                text=text,
                at=at,
                next_step=f"use it with one of {', '.join(sorted(SHORTENED))} and a number of bytes",
            )


class Look(Caller, Protocol):
    """What may have to be looked up in the target before a match is decided; asked only where it matters."""

    def site(self) -> tuple[str, ...]: ...
    def exists(self) -> bool: ...


class Armed:
    """A Tamper while it is in force: counts its hits and decides."""

    def __init__(self, index: int, tamper: Tamper, random: Source) -> None:
        refuse(tamper.rule, tamper.match)
        self.index = index
        self.tamper = tamper
        self.calls = tables.expand(tamper.match.call)
        self.counter = tamper.rule.counter(random)
        self.fired = 0
        self._kinds = frozenset(tamper.match.kind.split("|")) if tamper.match.kind else frozenset()
        match, planned = tamper.match, tamper.planned
        is_exact = match.exact or (planned is not None and planned.masked == match.path)
        self._pattern = re.compile(re.escape(match.path)) if is_exact else pattern(match.path)
        self._decided: dict[str, bool] = {}

    def is_hit(self, operation: Operation, look: Look) -> bool:
        """Whether this operation, of one of its calls, is a hit."""
        match = self.tamper.match
        if self._kinds and operation.kind not in self._kinds:
            return False
        found = self._decided.get(operation.masked)
        if found is None:
            if len(self._decided) > _DECIDED_MAX:
                self._decided.clear()
            found = self._decided[operation.masked] = self._pattern.fullmatch(operation.masked) is not None
        if not found:
            return False
        if match.opening and operation.call in tables.OPENS and not _opens(operation, match.opening, look):
            return False
        if match.context:
            site = operation.site or look.site()
            if context_of(msgspec.structs.replace(operation, site=site)) != match.context:
                return False
        return not match.short or look.is_short(match.short)

    def hit(self) -> Term | None:
        """Count a hit; the term to perform, if any."""
        return self.counter.hit()

    def matches_plan(self, operation: Operation, masked: Callable[[str], str], look: Look) -> bool | None:
        """Whether the first firing is the planned operation; None if nothing was planned, and for later firings."""
        planned = self.tamper.planned
        self.fired += 1
        if planned is None or self.fired > 1:
            return None
        if planned.site and not operation.site:
            operation = msgspec.structs.replace(operation, site=look.site())
        return is_same(planned, operation, masked)


def _opens(operation: Operation, opening: str, look: Look) -> bool:
    """Whether an open makes a new file, or, for `writing`, changes or may change one."""
    creates = operation.call == "creat" or bool(operation.flags & os.O_CREAT)
    is_unnamed = operation.flags & os.O_TMPFILE == os.O_TMPFILE
    if opening == "writing" and operation.flags & (os.O_ACCMODE | os.O_TRUNC):
        return True
    return is_unnamed or (creates and not look.exists())


def is_same(planned: Operation, seen: Operation, masked: Callable[[str], str]) -> bool:
    """Whether two operations of two runs are one and the same step of the program."""
    if (planned.call, planned.masked, planned.nth, planned.kind, planned.flags) != (
        seen.call,
        seen.masked,
        seen.nth,
        seen.kind,
        seen.flags,
    ):
        return False
    # What a symbolic link is to point to may be relative, and no mask knows such a path.
    if not planned.call.startswith("symlink") and masked(planned.path2) != masked(seen.path2):
        return False
    if _is_guess(planned) or _is_guess(seen):
        return True
    here, there = context_of(planned), context_of(seen)
    return not here or not there or here == there


def _is_guess(operation: Operation) -> bool:
    """Whether the frames are those of a native program, which are guessed and have no lines."""
    return any(frame.endswith(":0") for frame in operation.site)
