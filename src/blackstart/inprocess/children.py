"""Failpoints in child processes: the environment carries the rules, a file carries the hits back.

    with in_children({"cas-put-before-write": "@3 kill"}, ledger=tmp_path / "hits") as children:
        subprocess.run([sys.executable, "-m", "shop"], env=children.environment)
    assert children.fired("cas-put-before-write") == 1

Each process counts its own hits. A hit is written before its effect, so that one who is killed by it has been counted;
the file is opened for appending and each hit is one write, so that many may share it. Modules are armed at their
import, which a main script (`python script.py`) never is; what it imports is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blackstart.core.rule import Rule, Term, parse
from blackstart.core.units import plural
from blackstart.inprocess import arming, importing
from blackstart.inprocess.errors import NeverFired, NotArmable
from blackstart.inprocess.point import Point

RULES, LEDGER, SEED = "BLACKSTART_FAILPOINTS", "BLACKSTART_LEDGER", "BLACKSTART_SEED"
# Put first on the path of modules, where the interpreter looks for it when it starts.
START = "blackstart.inprocess.child.sitecustomize"
_BETWEEN = re.compile(r";(?=[a-z0-9][a-z0-9._/-]*=)")


@dataclass(frozen=True)
class Children:
    """environment: for the processes to be started; the rest is read from what they wrote.

    begins_at: how many bytes of the ledger are older than this, and of others.
    """

    environment: dict[str, str]
    ledger: Path
    begins_at: int = 0

    def hits(self, name: str) -> int:
        """How often all children together reached this failpoint."""
        return len(self._lines(name))

    def fired(self, name: str) -> int:
        """How often something was done there."""
        return sum(what != "off" for what in self._lines(name))

    def _lines(self, name: str) -> list[str]:
        rows = [line.split("\t") for line in self._text().splitlines()]
        return [row[2] for row in rows if row[0] == name and row[1] != "seen"]

    def _text(self) -> str:
        return self.ledger.read_bytes()[self.begins_at :].decode() if self.ledger.exists() else ""

    def must_have_fired(self, name: str) -> None:
        """NeverFired, saying whether a child had imported its module at all."""
        if self.fired(name):
            return
        seen = f"{name}\tseen" in self._text()
        often = plural(self.hits(name), "time")
        reached = f"it was reached {often}" if seen else "no child imported a module that has it"
        raise NeverFired(
            f"{name} never fired in a child process", next_step=f"{reached}; may_miss=True if that is meant"
        )


@contextmanager
def in_children(
    rules: Mapping[str, str | Rule], *, ledger: Path, may_miss: bool = False, seed: int = 0
) -> Iterator[Children]:
    """Rules for Python processes started with `environment`; NeverFired at the end for each that did nothing."""
    parsed = {name: parse(rule) if isinstance(rule, str) else rule for name, rule in rules.items()}
    for name, rule in parsed.items():
        Point((name,), rule)
    environment = dict(os.environ)
    places = [str(Path(__file__).parent / "child"), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    environment[RULES] = written(parsed)
    environment[LEDGER] = str(ledger.absolute())
    environment[SEED] = str(seed)
    children = Children(environment, ledger, ledger.stat().st_size if ledger.exists() else 0)
    yield children
    if not may_miss:
        for name, rule in parsed.items():
            if any(term.verb != "off" for term in rule.terms):
                children.must_have_fired(name)


def written(rules: Mapping[str, Rule]) -> str:
    """`name=rule;name=rule`, as the environment carries it."""
    text = ";".join(f"{name}={rule}" for name, rule in rules.items())
    if read(text) != dict(rules):
        raise NotArmable("these rules cannot be written into the environment", where=text, next_step="leave ';' out")
    return text


def read(text: str) -> dict[str, Rule]:
    """The rules of such a text; NotArmable or RuleError if it is none."""
    rules = {}
    for part in filter(None, _BETWEEN.split(text)):
        name, sign, rule = part.partition("=")
        if not sign:
            raise NotArmable(f"{RULES}: {part!r} is not name=rule")
        rules[name.strip()] = parse(rule)
    return rules


def start(environment: Mapping[str, str]) -> None:
    """Called when a child's interpreter starts: arm what its environment asks for, at import."""
    rules = read(environment.get(RULES, ""))
    ledger = environment.get(LEDGER, "")

    def tell(name: str, *rest: str) -> None:
        if ledger:
            descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, ("\t".join([name, *rest]) + "\n").encode())
            finally:
                os.close(descriptor)

    for name, rule in rules.items():

        def before(hit: int, term: Term, name: str = name) -> None:
            tell(name, str(hit), str(term))

        point = Point((name,), rule, seed=int(environment.get(SEED, "0")), before=before)
        arming.add(point, name)
    if rules:
        importing.install(lambda name: tell(name, "seen"))


def start_or_stop() -> None:
    """`start` for this process; a mistake in the rules ends it with status 2, for it would run unbroken."""
    from blackstart.core.errors import BlackstartError

    try:
        start(os.environ)
    except BlackstartError as error:
        sys.stderr.write(f"{RULES}: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_status)
