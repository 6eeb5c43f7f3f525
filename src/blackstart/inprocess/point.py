"""A rule at work: counts hits, acts, and knows afterwards whether it did anything.

A hit is decided under the counter's lock and done outside it, so that nobody waits for one who sleeps or hangs.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blackstart.core.randomness import Seed
from blackstart.core.rule import Rule, RuleError, Term, parse, refuse
from blackstart.core.units import plural
from blackstart.core.verbs import near
from blackstart.inprocess.effects import LINE_VERBS, LOG, Answer, Effects, Healing
from blackstart.inprocess.errors import NeverFired, NotArmable

PROCESS, CONTEXT = "process", "context"
_SCOPES = f"scope={PROCESS!r} for every hit, scope={CONTEXT!r} for those of the task or thread that arms it"
# Of more places than this a message names three.
_SHOWN = 5
_inside: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar("blackstart_inside", default=frozenset())


def shown(names: Sequence[str]) -> str:
    """These names for a message; of many the first three and how many more."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


def names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple; NotArmable for what is no text."""
    of: tuple[object, ...] = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    for name in of:
        if not isinstance(name, str):
            raise NotArmable(f"{name!r} is no name: a name is a text", next_step="write it like 'save-rename'")
    return tuple(str(name) for name in of)


class Point:
    """One rule armed at one or more places.

    names: the places; scope: PROCESS, or CONTEXT for hits of the arming context alone (a task and what it starts);
    before: called with the hit's number and its term before the effect.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        rule: str | Rule,
        *,
        seed: int | Seed = 0,
        scope: str = PROCESS,
        can: frozenset[str] = LINE_VERBS,
        mechanism: str = "a failpoint",
        before: Callable[[int, Term], None] | None = None,
    ) -> None:
        if not names:
            raise NotArmable("no name of a failpoint was given", next_step='write it like armed("save-rename", rule)')
        if scope not in (PROCESS, CONTEXT):
            raise NotArmable(f"no scope {scope!r}{near(scope, (PROCESS, CONTEXT))}", next_step=_SCOPES)
        if not isinstance(rule, str | Rule):
            step = "write it like '@2 raise(OSError: EIO)'"
            raise NotArmable(f"{rule!r} is no rule: a rule is a text", next_step=step)
        self.names = names
        self._shown = shown(names)
        self.rule = parse(rule) if isinstance(rule, str) else rule
        refuse(self.rule, can, mechanism)
        _refuse_after(self.rule, mechanism)
        self.scope = scope
        self.notes: list[str] = []
        self.is_logged = True  # whether each firing is a log record
        self._outside = 0
        self._before = before
        self._healing = Healing()
        self._effects = Effects(self.rule, f"{mechanism.removeprefix('a ')} {self._shown}", self._healing)
        source = (seed if isinstance(seed, Seed) else Seed(seed)).source("failpoint", *names)
        self._counter = self.rule.counter(source)
        self._fired = threading.Event()

    def __repr__(self) -> str:
        return f"<Point {self._shown}: {self.rule}; {self.hits} hits, {self.fired} fired>"

    @property
    def hits(self) -> int:
        """How often a place was reached."""
        return self._counter.hits

    @property
    def fired(self) -> int:
        """How often something was done there."""
        return self._counter.fired

    @property
    def answers(self) -> bool:
        """Whether a term gives a value instead of the function's own."""
        return any(term.verb == "return" for term in self.rule.terms)

    @property
    def can_fire(self) -> bool:
        return any(term.verb != "off" for term in self.rule.terms)

    def wait_fired(self, timeout_s: float = 5.0) -> None:
        """Wait until it fired; NeverFired after timeout_s."""
        if not self._fired.wait(timeout_s):
            raise NeverFired(f"{self._shown} did not fire within {timeout_s:g} s", next_step=self._why())

    def heal(self) -> None:
        """Let all go on who hang here; does not wait for them."""
        self._healing.heal()

    def decide(self) -> Term | None:
        """Count one hit, if it is in scope; the term to be done now, written to the log."""
        if self.scope == CONTEXT and id(self) not in _inside.get():
            self._outside += 1
            return None
        term = self._counter.hit()
        if self._before is not None:
            self._before(self._counter.hits, term or _OFF)
        if term is not None:
            self._fired.set()
            if self.is_logged:
                LOG.warning("fault at %s, hit %d: %s", self._shown, self._counter.hits, term)
        return term

    def reach(self) -> Answer:
        """One hit, in a thread."""
        __tracebackhide__ = True
        term = self.decide()
        return None if term is None else self._effects.do(term)

    async def reach_in_task(self) -> Answer:
        """One hit, in a task of asyncio."""
        __tracebackhide__ = True
        term = self.decide()
        return None if term is None else await self._effects.do_in_task(term)

    def do(self, term: Term) -> Answer:
        """What `decide` has decided."""
        __tracebackhide__ = True
        return self._effects.do(term)

    async def do_in_task(self, term: Term) -> Answer:
        """What `decide` has decided, in a task of asyncio."""
        __tracebackhide__ = True
        return await self._effects.do_in_task(term)

    @contextmanager
    def in_scope(self) -> Iterator[None]:
        """The current context is in scope inside the block; without a difference where the scope is the process."""
        try:
            if self.scope == CONTEXT:
                _inside.set(_inside.get() | {id(self)})
            yield
        finally:
            if self.scope == CONTEXT:  # others may have come and gone meanwhile, in any order
                _inside.set(_inside.get() - {id(self)})

    def must_have_fired(self) -> None:
        """NeverFired if it could have fired and did not."""
        if self.can_fire and not self.fired:
            raise NeverFired(f"the rule {str(self.rule)!r} at {self._shown} never fired", next_step=self._why())

    def _why(self) -> str:
        reached = f"the place was reached {plural(self.hits, 'time')}" if self.hits else "the place was not reached"
        if self._outside:
            reached += f" in the context that armed it, and outside of it {plural(self._outside, 'time')}"
        return "; ".join([reached, *self.notes, "pass may_miss=True if that is meant"])


_OFF = Term("off")


def _refuse_after(rule: Rule, mechanism: str) -> None:
    if any(term.is_after for term in rule.terms):
        text = str(rule)
        raise RuleError(
            f"{mechanism} cannot kill(after)",
            text=text,
            at=text.index("kill(after)"),
            next_step="kill, without an argument, at the place that follows",
        )


def answering(reach: Callable[[], Answer], store: Any) -> Callable[[], bool]:
    """`reach` as the two halves of `if reach(): return value()`: this one, and the value left in `store`."""

    def hook() -> bool:
        __tracebackhide__ = True
        answer = reach()
        if answer is None:
            return False
        store.value = answer[0]
        return True

    return hook
