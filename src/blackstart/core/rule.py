"""The rule: when × what, as text.

    rule := term ("->" term)*
    term := [percent "%"] [times "*"] ["@" k | "@" k "+" | "@" k "+" step] verb ["(" argument ")"]

    @3 raise(OSError: EIO)      20% delay(50ms)      2*hang -> off      @10+5 sleep(1s) -> print(still here)

One language for every mechanism (a comment in the source, a call, a system call, a byte stream). The parser knows
the verbs and their arguments but no mechanism: one that cannot do a verb says so with `refuse`.
`parse(str(rule)) == rule` holds for every rule. An argument ends at its closing parenthesis, so parentheses in it
must be balanced; a rule is one line.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import unicodedata
from collections.abc import Collection
from decimal import Decimal

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Source
from blackstart.core.units import parse_duration
from blackstart.core.verbs import ADDRESS_ERRORS, ONE_LINE, VERBS, argument_fault, closing, is_allowed, near

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_MAX_COUNT = 999_999_999
# Of a longer rule a message shows so many characters.
_SHOWN = 160
_ORDER = "percent% times* @hit verb"


class RuleError(BlackstartError):
    """A rule that cannot be read, or that the mechanism at hand cannot do; shows the text with a caret under the fault.

    text: the whole rule; at: the position of the fault in it, from 0.
    """

    def __init__(self, what: str, *, text: str, at: int, next_step: str = "") -> None:
        # A control character would move the cursor; its stand-in is one column wide.
        printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        shown, below = _around(printable, at)
        caret = " " * sum(map(_columns, shown[:below])) + "^"
        super().__init__(f"{_shortened(what)}\n  {shown}\n  {caret}", next_step=next_step)
        self.text = text
        self.at = at


def _around(text: str, at: int) -> tuple[str, int]:
    """Of a text that fills more than a few lines the part around `at`, and where `at` is in that."""
    if len(text) <= _SHOWN:
        return text, at
    begin = max(0, at - _SHOWN // 2)
    before, after = "…" if begin else "", "…" if begin + _SHOWN < len(text) else ""
    return before + text[begin : begin + _SHOWN] + after, len(before) + at - begin


def _shortened(what: str) -> str:
    return what if len(what) <= 2 * _SHOWN else f"{what[:_SHOWN]} … {what[-_SHOWN // 2 :]}"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class ExceptionArgument(msgspec.Struct, frozen=True):
    """`OSError: EIO`: the exception's name (builtin, or a dotted path) and the errno's name (`""` if none)."""

    exception: str
    errno: str = ""

    @property
    def number(self) -> int:
        """The errno (of `socket.gaierror` what getaddrinfo returns) as a number, 0 if none was given."""
        if self.errno in ADDRESS_ERRORS:
            import socket

            return int(getattr(socket, self.errno))
        return int(getattr(errno, self.errno)) if self.errno else 0

    @property
    def text(self) -> str:
        """What the system says of that number."""
        return ADDRESS_ERRORS.get(self.errno) or os.strerror(self.number)


class Term(msgspec.Struct, frozen=True, omit_defaults=True):
    """One `when × what`. Every part of `when` that is given must hold.

    percent: chance, above 0 and at most 100 (None: always); times: fires at most so often (None: no limit);
    first: the hit it fires on, counted over the whole rule from 1 (None: any hit);
    step: 0 only on `first`, 1 on it and all later ones, n on every n-th from it.
    """

    verb: str
    argument: str | None = None
    percent: float | None = None
    times: int | None = None
    first: int | None = None
    step: int = 0

    def __post_init__(self) -> None:
        fault = argument_fault(self.verb, self.argument)
        if fault:
            raise RuleError(fault.what, text=self.argument or self.verb, at=fault.at, next_step=fault.next_step)
        assert self.percent is None or 0 < self.percent <= 100, self.percent
        assert self.times is None or 1 <= self.times <= _MAX_COUNT, self.times
        assert self.first is None or 1 <= self.first <= _MAX_COUNT, self.first
        assert self.step == 0 or (self.first is not None and 1 <= self.step <= _MAX_COUNT), self.step

    def __str__(self) -> str:
        when = "" if self.percent is None else f"{_plain_percent(self.percent)}%"
        when += "" if self.times is None else f"{self.times}*"
        if self.first is not None:
            when += f"@{self.first}" + {0: "", 1: "+"}.get(self.step, f"+{self.step}")
        # `2*hang` reads as one thing; after a percentage or a hit the verb needs room.
        space = " " if when and not when.endswith("*") else ""
        return when + space + self.verb + ("" if self.argument is None else f"({self.argument})")

    def may_fire_on(self, hit: int) -> bool:
        """Whether `@` lets it fire on this hit, from 1."""
        if self.first is None or hit == self.first:
            return True
        return self.step > 0 and hit > self.first and (hit - self.first) % self.step == 0

    @property
    def exception(self) -> ExceptionArgument:
        """The argument of `raise`."""
        assert self.verb == "raise" and self.argument is not None, self
        name, _, number = self.argument.partition(":")
        return ExceptionArgument(name.strip(), number.strip())

    @property
    def duration_s(self) -> float:
        """The argument of `sleep` and `delay`; a bare number is milliseconds."""
        assert self.verb in ("sleep", "delay") and self.argument is not None, self
        return parse_duration(self.argument, bare="ms")

    @property
    def is_after(self) -> bool:
        """Whether a `kill` falls after the operation was carried out."""
        return self.verb == "kill" and self.argument is not None

    @property
    def number(self) -> int | None:
        """The argument of `return` or `exit` as a whole number; None if it is none."""
        text = (self.argument or "").strip()
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


class Rule(msgspec.Struct, frozen=True):
    """A chain of terms: a later one is looked at only when the earlier ones did not fire."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        assert self.terms, "a rule has at least one term"

    def __str__(self) -> str:
        return " -> ".join(map(str, self.terms))

    def counter(self, random: Source) -> Counter:
        """A fresh count of this rule's hits; `random` decides the percentages and nothing else."""
        return Counter(self, random)


class Counter:
    """Decides hit by hit which term fires. Decides under its lock; the caller acts outside it.

    hits: how often the place was reached; fired: how often something was to be done there (`off` is nothing).
    """

    def __init__(self, rule: Rule, random: Source) -> None:
        self.rule = rule
        self.hits = 0
        self.fired = 0
        self._random = random
        self._left = [term.times for term in rule.terms]
        # One that a signal handler in the middle of a hit does not wait for.
        self._lock = threading.RLock()

    def hit(self) -> Term | None:
        """Count one hit; the term to perform now, or None."""
        with self._lock:
            self.hits += 1
            number = self.hits
            for index, term in enumerate(self.rule.terms):
                if self._fires(index, term, number):
                    acts = term.verb != "off"
                    self.fired += acts
                    return term if acts else None
            return None

    def _fires(self, index: int, term: Term, number: int) -> bool:
        left = self._left[index]
        if left == 0 or not term.may_fire_on(number):
            return False
        if term.percent is not None and self._random.random() * 100 >= term.percent:
            return False
        # Counted only now: what did not fire uses nothing up.
        if left is not None:
            self._left[index] = left - 1
        return True


def parse(text: str) -> Rule:
    """The rule that `text` says; RuleError with a caret under the first fault."""
    for at, character in enumerate(text):
        if not is_allowed(character):
            raise RuleError(ONE_LINE, text=text, at=at)
    return _Reader(text).rule()


def refuse(rule: Rule, can: Collection[str], mechanism: str) -> None:
    """Raise RuleError at the first term whose verb `mechanism` cannot do, naming those it can."""
    at = 0
    for term in rule.terms:
        if term.verb not in can:
            where = at + str(term).index(term.verb)
            able = " ".join(verb for verb in VERBS if verb in can)
            raise RuleError(f"{mechanism} cannot {term.verb}", text=str(rule), at=where, next_step=f"it can: {able}")
        at += len(str(term)) + len(" -> ")


def _plain_percent(percent: float) -> str:
    text = f"{Decimal(repr(percent)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class _When(msgspec.Struct):
    """The part of a term before its verb, while it is read."""

    percent: float | None = None
    times: int | None = None
    first: int | None = None
    step: int = 0


class _Reader:
    """Reads a rule from left to right; every fault it finds has a position."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def rule(self) -> Rule:
        terms = [self._term()]
        while not self._is_at_end():
            if not self.text.startswith("->", self.at):
                raise self._unexpected()
            self.at += 2
            terms.append(self._term())
        return Rule(tuple(terms))

    def _fault(self, what: str, at: int | None = None, next_step: str = "") -> RuleError:
        return RuleError(what, text=self.text, at=self.at if at is None else at, next_step=next_step)

    def _is_at_end(self) -> bool:
        while self.text.startswith(" ", self.at):
            self.at += 1
        return self.at == len(self.text)

    def _unexpected(self) -> RuleError:
        if self.text.startswith(")", self.at):
            return self._fault("this parenthesis was not opened")
        return self._fault("expected '->' or the end")

    def _term(self) -> Term:
        when = self._when()
        verb = self._verb()
        argument, start = None, self.at
        if self.text.startswith("(", start):
            end = closing(self.text, start)
            if end < 0:
                raise self._fault("this parenthesis is not closed")
            argument, self.at = self.text[start + 1 : end], end + 1
        elif not self._is_at_end() and self.text.startswith("(", self.at):
            raise self._fault("the argument follows its verb without a space")
        fault = argument_fault(verb, argument)
        if fault:
            # Without an argument the caret stands under the verb that lacks it, else under the place in the argument.
            at = start - len(verb) if argument is None else start + 1 + fault.at
            raise self._fault(fault.what, at, fault.next_step)
        return Term(verb, argument, when.percent, when.times, when.first, when.step)

    def _verb(self) -> str:
        word = _WORD.match(self.text, self.at)
        if not word:
            raise self._fault("expected a verb", next_step=f"verbs are: {' '.join(VERBS)}")
        if word[0] not in VERBS:
            nearest = near(word[0], VERBS)
            raise self._fault(
                f"no verb {word[0]!r}{nearest}", next_step="" if nearest else f"verbs are: {' '.join(VERBS)}"
            )
        self.at = word.end()
        return word[0]

    def _when(self) -> _When:
        when = _When()
        while not self._is_at_end():
            number = _NUMBER.match(self.text, self.at)
            if number:
                self._percent_or_times(number, when)
            elif self.text[self.at] == "@":
                self._hits(when)
            elif self.text[self.at] in "%*+":
                raise self._lonely(self.text[self.at], when)
            elif self.text[self.at].isnumeric():
                raise self._fault("the digits of a rule are 0 to 9")
            else:
                break
        return when

    def _lonely(self, sign: str, when: _When) -> RuleError:
        if sign != "+" and when.first is not None:
            return self._fault(f"{sign!r} cannot follow a hit: {_ORDER}")
        return self._fault(f"{sign!r} needs a number before it")

    def _percent_or_times(self, number: re.Match[str], when: _When) -> None:
        sign = self.text[number.end() : number.end() + 1]
        if sign not in ("%", "*"):
            raise self._fault("expected '%' or '*' after this number", number.end())
        if sign == "%":
            if when.percent is not None or when.times is not None or when.first is not None:
                raise self._fault(f"the percentage comes first, once: {_ORDER}")
            when.percent = float(number[0])
            if not 0 < when.percent <= 100:
                raise self._fault("a percentage is above 0 and at most 100")
        else:
            if when.times is not None or when.first is not None:
                raise self._fault(f"the count comes once, before the hit: {_ORDER}")
            when.times = self._count(number, "a count")
        self.at = number.end() + 1

    def _hits(self, when: _When) -> None:
        if when.first is not None:
            raise self._fault("a term has one '@'; use '->' for another")
        self.at += 1
        number = _NUMBER.match(self.text, self.at)
        if not number:
            raise self._fault("'@' needs the number of a hit, from 1")
        when.first = self._count(number, "a hit")
        self.at = number.end()
        if self.text.startswith("+", self.at):
            self.at += 1
            when.step = 1
            number = _NUMBER.match(self.text, self.at)
            if number:
                when.step = self._count(number, "a step")
                self.at = number.end()

    def _count(self, number: re.Match[str], what: str) -> int:
        if not number[0].isascii() or not number[0].isdigit():
            raise self._fault(f"{what} is a whole number", number.start())
        # Digits first: Python refuses to convert a number of thousands of digits.
        if len(number[0].lstrip("0")) > len(str(_MAX_COUNT)) or not 1 <= int(number[0]) <= _MAX_COUNT:
            raise self._fault(f"{what} is from 1 to {_MAX_COUNT}", number.start())
        return int(number[0])
