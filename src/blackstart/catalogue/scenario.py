"""A scenario, and which trials are evidence for it.

Pure data: a failure mode, what it applies to, what it does to people, what ought to happen, and by which trials one can
tell. The catalogue is TOML, read without ever running anything, so that anybody can add a file.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable
from importlib import resources

import msgspec

from blackstart.core.calibration import ROLES
from blackstart.core.documents import from_toml
from blackstart.core.errors import BlackstartError
from blackstart.core.options import KINDS
from blackstart.core.verbs import near

SCHEMA = "blackstart-catalogue/1"
PHASES = ("run", "restart")
THINGS = (*ROLES, "database", "process", "service", "peer")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trials that say something: of this kind, and with one of these variants, calls, roles, where any are named."""

    kind: str
    what: tuple[str, ...] = ()
    call: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    phase: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """id; title; tier: 1 (every program) to 3; applies_to: roles, database, peer, process, service; impact; recovery:
    what ought to happen; evidence: which trials tell; oracles: who judges them; needs: `database` where only trials on
    databases count; refs: names elsewhere.
    """

    id: str
    title: str
    tier: int
    applies_to: tuple[str, ...]
    impact: str
    recovery: str
    evidence: tuple[Evidence, ...]
    oracles: tuple[str, ...]
    needs: str = ""
    refs: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fault that provoke it."""
        return tuple(dict.fromkeys(one.kind for one in self.evidence))


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario has to know of a trial; is_database: whether its file is one."""

    kind: str
    what: str = ""
    call: str = ""
    role: str = ""
    phase: str = "run"
    is_database: bool = False


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    schema: str
    scenario: list[Scenario] = []


def is_evidence(scenario: Scenario, trial: Trial) -> bool:
    """Whether the trial says something about the scenario."""
    if scenario.needs == "database" and not trial.is_database:
        return False
    return any(_agrees(wanted, trial) for wanted in scenario.evidence)


def _agrees(wanted: Evidence, trial: Trial) -> bool:
    return (
        wanted.kind == trial.kind
        # Of a variant in several words (`TERM`, and when) any word will do.
        and (not wanted.what or trial.what in wanted.what or not set(wanted.what).isdisjoint(trial.what.split()))
        and (not wanted.call or trial.call in wanted.call)
        and (not wanted.role or trial.role in wanted.role)
        and wanted.phase in ("", trial.phase)
    )


def built_in() -> tuple[Scenario, ...]:
    """The scenarios that come with blackstart."""
    text = resources.files("blackstart.catalogue").joinpath("scenarios.toml").read_text(encoding="utf-8")
    return parse(text, "blackstart/catalogue/scenarios.toml")


def load(files: Iterable[str]) -> tuple[Scenario, ...]:
    """The built-in scenarios and those of these files; a later one with the same id replaces an earlier one."""
    found = {scenario.id: scenario for scenario in built_in()}
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise BlackstartError(
                f"the scenarios cannot be read: {error.strerror}", where=path, next_step="check the path"
            ) from None
        except UnicodeDecodeError:
            raise BlackstartError("the scenarios are not UTF-8", where=path, next_step="save them as UTF-8") from None
        found.update({scenario.id: scenario for scenario in parse(text, path)})
    return tuple(found.values())


def parse(text: str, where: str) -> tuple[Scenario, ...]:
    """The scenarios of one file; BlackstartError names the key that is wrong."""
    step = "`blackstart catalogue ID` shows one that is right"
    file = from_toml(text, _File, what="this catalogue", where=where, next_step=step)
    if file.schema != SCHEMA:
        raise BlackstartError(f"this version does not read {file.schema}", where=where, next_step=f"it reads {SCHEMA}")
    for scenario in file.scenario:
        _check(scenario, where)
    return tuple(file.scenario)


def _check(scenario: Scenario, where: str) -> None:
    if not _ID.fullmatch(scenario.id):
        raise BlackstartError(
            f"{scenario.id!r} is no id", where=where, next_step="small letters, digits, `.`, `-` and `_`"
        )
    if scenario.tier not in (1, 2, 3):
        raise BlackstartError(f"{scenario.id}: tier {scenario.tier}", where=where, next_step="1, 2 or 3")
    if scenario.needs not in ("", "database"):
        raise BlackstartError(f"{scenario.id}: needs {scenario.needs!r}", where=where, next_step="database, or nothing")
    _known(scenario, "role or thing", scenario.applies_to, THINGS, where)
    for one in scenario.evidence:
        _known(scenario, "kind", (one.kind,), KINDS, where)
        _known(scenario, "role", one.role, ROLES, where)
        _known(scenario, "phase", (one.phase,) if one.phase else (), PHASES, where)
        # Other variants are words of each kind's own, and stay open.
        named = tuple(what for what in one.what if what.startswith("E") and what.isupper())
        _known(scenario, "errno", named if one.kind == "errno" else (), errno.errorcode.values(), where)


def _known(scenario: Scenario, noun: str, words: Iterable[str], known: Collection[str], where: str) -> None:
    """A misspelt name would agree with no trial, and the scenario would be `not tried` without a word."""
    for word in words:
        if word not in known:
            step = near(word, known).removeprefix("; ") or f"there are {', '.join(known)}"
            raise BlackstartError(f"{scenario.id}: there is no {noun} {word!r}", where=where, next_step=step)
