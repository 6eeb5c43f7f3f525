"""The same rules for failpoints of other languages: fail-rs of Rust and gofail of Go, in their own words.

    subprocess.run(["./store"], env=os.environ | in_rust({"put-before-sync": "@3 panic"}))

Both know counts and chances but no n-th hit, so `@3 panic` becomes `2*off->1*panic`. What they cannot do is refused: a
failpoint there returns a value or acts; it never raises, and a kill or an exit would be a part of the program.
`Gofail` sets failpoints of a running program through the HTTP endpoint that it opens (`GOFAIL_HTTP`); they are healed
though the process that set them dies.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby

from blackstart.core.randomness import Seed
from blackstart.core.rule import Rule, RuleError, Term, parse, refuse
from blackstart.core.verbs import near
from blackstart.inprocess import rescue
from blackstart.inprocess.errors import AlreadyArmed, NeverFired, NotArmable, UnknownFailpoint

FAIL_RS = frozenset("off return sleep delay panic print pause yield".split())
GOFAIL = frozenset("off return sleep panic print".split())
_RUST, _GO = "a failpoint of fail-rs", "a failpoint of gofail"
_HITS_MAX = 10_000
_TIMEOUT_S = 10.0


def in_rust(rules: Mapping[str, str | Rule]) -> dict[str, str]:
    """The environment variable that a program with fail-rs reads; RuleError for what it cannot do."""
    return {"FAILPOINTS": _joined({name: fail_rs(rule) for name, rule in rules.items()})}


def in_go(rules: Mapping[str, str | Rule]) -> dict[str, str]:
    """The environment variable that a program with gofail reads; RuleError for what it cannot do."""
    return {"GOFAIL_FAILPOINTS": _joined({name: gofail(rule) for name, rule in rules.items()})}


def fail_rs(rule: str | Rule) -> str:
    """The rule as fail-rs writes it: `[chance%][count*]task[(argument)]`, chained with `->`."""
    read = parse(rule) if isinstance(rule, str) else rule
    refuse(read, FAIL_RS, _RUST)
    if len(read.terms) == 1 and read.terms[0].percent is not None and read.terms[0].first and not read.terms[0].step:
        raise _refused(read, read.terms[0], _RUST, "a chance on one hit alone")
    return _written(read, _RUST, lambda percent: f"{percent:g}%", lambda term: _rust_task(read, term))


def gofail(rule: str | Rule) -> str:
    """The rule as gofail writes it; it reads a chance only with a decimal point."""
    read = parse(rule) if isinstance(rule, str) else rule
    refuse(read, GOFAIL, _GO)
    return _written(read, _GO, lambda percent: f"{percent:f}%", lambda term: _go_task(read, term))


def _written(rule: Rule, mechanism: str, chance: Callable[[float], str], task: Callable[[Term], str]) -> str:
    by_chance = [term for term in rule.terms if term.percent is not None]
    if not by_chance:
        return "->".join(f"{count}{task(term) if term else 'off'}" for count, term in _runs(rule, mechanism))
    late = [term for term in rule.terms if term.first is not None]
    if late and len(rule.terms) > 1:
        raise _refused(rule, late[0], mechanism, "a chance and a hit in one chain")
    parts = []
    for term in rule.terms:
        if term.step > 1:
            raise _refused(rule, term, mechanism, "every so many hits")
        if term.first is not None and term.first > 1:
            parts.append(f"{term.first - 1}*off")
        once = "1*" if term.first is not None and not term.step else ""
        count = f"{term.times}*" if term.times is not None and not once else ""
        by = chance(term.percent) if term.percent is not None else ""
        parts.append(f"{once}{by}{count}{task(term)}")
    return "->".join(parts)


def _runs(rule: Rule, mechanism: str) -> Iterator[tuple[str, Term | None]]:
    """A rule without chances as what happens in turn: (`3*`, the term, None for nothing); the last one for good."""
    for term in rule.terms:
        if term.step > 1:
            raise _refused(rule, term, mechanism, "every so many hits")
    hits = sum(term.times or 0 for term in rule.terms) + max(term.first or 1 for term in rule.terms) + 1
    if hits > _HITS_MAX:
        raise _refused(rule, rule.terms[0], mechanism, f"counts beyond {_HITS_MAX} hits")
    counter = rule.counter(Seed(0).source("none"))
    runs = [(term, len(list(same))) for term, same in groupby(counter.hit() for _ in range(hits))]
    for done, count in runs[:-1]:
        yield f"{count}*", done
    # What happens at the last of them happens at all later ones.
    if runs[-1][0] is not None or len(runs) == 1:
        yield "", runs[-1][0]


def _rust_task(rule: Rule, term: Term) -> str:
    if term.verb in ("sleep", "delay"):
        return f"{term.verb}({_milliseconds(rule, term, _RUST)})"
    if term.argument is None:
        return term.verb
    if re.search(r"[();]|->", term.argument):
        raise _refused(rule, term, _RUST, "parentheses, `;` and `->` in an argument")
    return f"{term.verb}({term.argument})"


def _go_task(rule: Rule, term: Term) -> str:
    if term.verb == "sleep":
        return f"sleep({_milliseconds(rule, term, _GO)})"
    if term.argument is None:
        return term.verb
    text = term.argument.strip().removeprefix('"').removesuffix('"')
    if term.verb == "return" and re.fullmatch(r"-?\d{1,18}", text) and text == term.argument.strip():
        return f"return({int(text)})"
    if term.verb == "return" and text.lower() in ("true", "false"):
        return f"return({text.lower()})"
    if not re.fullmatch(r"[ -~]*", text) or re.search(r'["\\]', text):
        raise _refused(rule, term, _GO, "quotes, backslashes and other than ASCII in an argument")
    return f'{term.verb}("{text}")'


def _milliseconds(rule: Rule, term: Term, mechanism: str) -> int:
    whole = round(term.duration_s * 1000)
    if abs(whole - term.duration_s * 1000) > 1e-6:
        raise _refused(rule, term, mechanism, "parts of a millisecond")
    return whole


def _refused(rule: Rule, term: Term, mechanism: str, what: str) -> RuleError:
    text = str(rule)
    return RuleError(f"{mechanism} does not know {what}", text=text, at=max(0, text.find(str(term))))


def _joined(rules: Mapping[str, str]) -> str:
    for name, rule in rules.items():
        if not re.fullmatch(r"[^\s;=]+", name):
            raise NotArmable(f"{name!r} cannot be the name of a failpoint in an environment variable")
        if re.search("[;=]", rule):
            raise NotArmable("`;` and `=` separate failpoints in an environment variable", where=f"{name}={rule}")
    return ";".join(f"{name}={rule}" for name, rule in rules.items())


class Gofail:
    """The failpoints of a running Go program, reached at the address that its GOFAIL_HTTP names (`HOST:PORT`)."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise NotArmable(f"{address!r} is not HOST:PORT", next_step="name the address in its GOFAIL_HTTP")
        self.address = address

    def names(self) -> list[str]:
        """The failpoints that the program has."""
        return list(self._rules())

    def _rules(self) -> dict[str, str]:
        """Name -> what it follows now, in gofail's words; empty where nothing is set."""
        _, text = self._ask("GET", "")
        pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
        return {name: rule.strip() for name, _, rule in pairs}

    def count(self, name: str) -> int | None:
        """How often it acted since it was set; None where this version of gofail does not tell."""
        status, text = self._ask("GET", f"{name}/count")
        return int(text) if status == 200 and text.strip().isdigit() else None

    @contextmanager
    def armed(self, name: str, rule: str | Rule, *, may_miss: bool = False) -> Iterator[None]:
        """This failpoint follows this rule inside the block; UnknownFailpoint, with the nearest name, or AlreadyArmed.

        NeverFired at the end where this version of gofail counts, and it counted nothing.
        """
        text = gofail(rule)
        known = self._rules()
        if name not in known:
            raise UnknownFailpoint(f"no failpoint {name!r} at {self.address}{near(name, known)}")
        if known[name]:
            raise AlreadyArmed(
                f"{name!r} at {self.address} is armed already, with {known[name]!r}",
                next_step="chain two rules with `->`, and leave it out of GOFAIL_FAILPOINTS",
            )
        host, _, port = self.address.rpartition(":")
        with rescue.of_resource(host, int(port), f"/{name}"):
            try:
                status, said = self._ask("PUT", name, text)
                if status >= 300:
                    raise NotArmable(f"{self.address} refuses {text!r} for {name!r}: {said.strip()}")
                yield
                if not may_miss and self.count(name) == 0 and set(text.split("->")) != {"off"}:
                    what = f"the rule {str(rule)!r} at {name} never fired"
                    raise NeverFired(what, next_step="may_miss=True if meant")
            finally:
                self._heal(name)

    def _heal(self, name: str) -> None:
        try:
            self._ask("DELETE", name)
        except NotArmable:
            pass  # a program that is gone has no failpoint any more

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
        try:
            connection.request(method, f"/{path}", body=body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise NotArmable(
                f"no gofail answers at {self.address}: {error}", next_step="start the program with GOFAIL_HTTP"
            ) from None
        finally:
            connection.close()
