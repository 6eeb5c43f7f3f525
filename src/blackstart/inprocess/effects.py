"""What a verb does inside a process.

All that can be wrong with an argument (an exception that does not exist, a function that cannot be called) is found
when the rule is armed, not in the middle of the program. An effect gives None to go on, or a tuple of one: the value
that is given instead.
"""

from __future__ import annotations

import ast
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from blackstart.core.rule import Rule, RuleError, Term
from blackstart.inprocess import clock
from blackstart.inprocess.paths import module_of

Answer = tuple[Any] | None
LOG = logging.getLogger("blackstart.fault")
LINE_VERBS = frozenset("off raise return sleep delay hang yield print pause kill exit call panic".split())


class InjectedPanic(RuntimeError):
    """What the verb `panic` raises: an exception that no program expects."""


class Healing:
    """Whether a fault is healed; who hangs waits here, in a thread or in a task. Healing waits for nobody."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._tasks: list[tuple[Any, Any]] = []

    def heal(self) -> None:
        """Let all go on who wait. Does nothing the second time."""
        with self._lock:
            self._event.set()
            waiting, self._tasks = self._tasks, []
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)

    def wait(self) -> None:
        self._event.wait()

    async def wait_in_task(self) -> None:
        """The same for a task of asyncio; it can be cancelled meanwhile."""
        import asyncio

        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            if self._event.is_set():
                return
            self._tasks.append((loop, future))
        await future


def _finish(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class Effects:
    """The terms of one rule, ready to be done."""

    def __init__(self, rule: Rule, what: str, healing: Healing) -> None:
        self._what = what
        self._healing = healing
        self._exceptions: dict[Term, Callable[[], BaseException]] = {}
        self._values: dict[Term, Any] = {}
        self._functions: dict[Term, Callable[[], object]] = {}
        for term in rule.terms:
            try:
                self._prepare(term)
            except _Fault as fault:
                text = str(rule)
                raise RuleError(fault.what, text=text, at=max(0, text.find(term.argument or term.verb))) from None

    def _prepare(self, term: Term) -> None:
        if term.verb == "raise":
            self._exceptions[term] = _exception(term, self._what)
        elif term.verb == "call":
            function = _resolved(term.argument or "")
            if not callable(function):
                raise _Fault(f"{term.argument} cannot be called")
            self._functions[term] = function
        elif term.verb == "return":
            self._values[term] = _value(term.argument)

    def do(self, term: Term) -> Answer:
        """Act, in a thread."""
        if term.verb in ("hang", "pause"):
            self._healing.wait()
        elif term.verb == "sleep":
            clock.current().sleep(term.duration_s)
        elif term.verb == "yield":
            clock.current().sleep(0)
        else:
            return self._at_once(term)
        return None

    async def do_in_task(self, term: Term) -> Answer:
        """Act, in a task of asyncio, whose loop goes on meanwhile."""
        import asyncio

        if term.verb in ("hang", "pause"):
            await self._healing.wait_in_task()
        elif term.verb == "sleep":
            await asyncio.sleep(term.duration_s)
        elif term.verb == "yield":
            await asyncio.sleep(0)
        else:
            return self._at_once(term)
        return None

    def _at_once(self, term: Term) -> Answer:
        __tracebackhide__ = True
        if term.verb == "raise":
            raise self._exceptions[term]()
        if term.verb == "panic":
            raise InjectedPanic(term.argument or f"{self._what}: injected panic")
        if term.verb == "return":
            return (self._values[term],)
        if term.verb == "call":
            self._functions[term]()
        elif term.verb == "print":
            sys.stdout.write(f"{term.argument or ''}\n")
        elif term.verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif term.verb == "exit":
            os._exit(term.number or 0)
        else:
            assert term.verb == "delay", term
            clock.current().spend(term.duration_s)
        return None


class _Fault(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def _exception(term: Term, what: str) -> Callable[[], BaseException]:
    argument = term.exception
    kind = _resolved(argument.exception if "." in argument.exception else f"builtins.{argument.exception}")
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise _Fault(f"{argument.exception} is no exception")
    if argument.number:
        arguments: tuple[object, ...] = (argument.number, argument.text)
    else:
        arguments = (f"injected at {what}",)
    for attempt in (arguments, ()):
        try:
            kind(*attempt)
        except TypeError:
            continue
        return lambda: kind(*attempt)
    raise _Fault(f"{argument.exception} cannot be made with one text or with nothing; use call(...) of a function")


def _resolved(path: str) -> Any:
    """What a dotted path leads to; the module part is imported."""
    begun = module_of(path)
    if begun is None:
        raise _Fault(f"no module {path.partition('.')[0]!r}")
    module, rest = begun
    found: Any = module
    for part in rest:
        if not hasattr(found, part):
            raise _Fault(f"{module.__name__} has no {'.'.join(rest)}")
        found = getattr(found, part)
    return found


def _value(argument: str | None) -> Any:
    """The value that `return` names: a Python literal, else the text itself; None without one."""
    if argument is None:
        return None
    try:
        return ast.literal_eval(argument.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return argument
