"""From the command line and `blackstart.toml` to one value.

Keys are those of the command line. `blackstart.toml` in the current directory is read, else `[tool.blackstart]` of
`pyproject.toml`; what the command line says wins, lists are replaced, `env` is merged name by name.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from typing import Any

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.options import ISOLATIONS, KINDS, Options
from blackstart.core.randomness import Seed
from blackstart.core.units import parse_duration
from blackstart.report import views

BUDGET = "2m"
# What msgspec calls the type of a key, as an example of how to write it.
_FORMS = {
    "array": 'a list of texts, such as ["./my-program", "--its", "argument"]',
    "array | str": 'a text, or a list of them, such as ["kill", "errno"]',
    "str": "a text, in quotes",
    "int": "a whole number, such as 4",
    "object": 'names and texts, such as { LANG = "C" }',
}


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"companions": "with"}):
    """What was said in one place; None: nothing was said."""

    command: list[str] | None = None
    state: list[str] | str | None = None
    check: str | None = None
    stdin: str | None = None
    env: dict[str, str] | None = None
    cwd: str | None = None
    allow: list[str] | str | None = None
    budget: str | None = None
    trials: int | None = None
    jobs: int | None = None
    only: list[str] | str | None = None
    seed: int | None = None
    json: str | None = None
    html: str | None = None
    junit: str | None = None
    sarif: str | None = None
    markdown: str | None = None
    baseline: str | None = None
    scenarios: list[str] | str | None = None
    isolation: str | None = None
    model: list[str] | str | None = None
    ready: str | None = None
    workload: str | None = None
    companions: list[str] | str | None = None


def options_from(given: Settings, directory: str) -> Options:
    """The options of a run that is started in `directory`; raises BlackstartError for what cannot be meant."""
    kept = from_file(directory)
    budget = given.budget or kept.budget or BUDGET
    cwd = os.path.join(directory, _first(given.cwd, kept.cwd, ""))
    options = Options(
        command=tuple(given.command or kept.command or ()),
        cwd=os.path.normpath(cwd),
        state=_words(_first(given.state, kept.state, [])),
        check=_first(given.check, kept.check, ""),
        stdin=_first(given.stdin, kept.stdin, ""),
        env={**(kept.env or {}), **(given.env or {})},
        allow=_words(_first(given.allow, kept.allow, [])),
        budget_s=parse_duration(budget, bare="s"),
        trials=_first(given.trials, kept.trials, 0),
        jobs=_first(given.jobs, kept.jobs, 0),
        only=_listed(given.only, kept.only),
        seed=_first(given.seed, kept.seed, -1),
        json=_first(given.json, kept.json, ""),
        isolation=_first(given.isolation, kept.isolation, ""),
        ready=_first(given.ready, kept.ready, ""),
        workload=_first(given.workload, kept.workload, ""),
        companions=_words(_first(given.companions, kept.companions, [])),
        models=_listed(given.model, kept.model),
        scenarios=tuple(os.path.join(directory, p) for p in _words(_first(given.scenarios, kept.scenarios, []))),
        baseline=os.path.join(directory, path) if (path := _first(given.baseline, kept.baseline, "")) else "",
    )
    _check(options)
    return options if options.seed >= 0 else msgspec.structs.replace(options, seed=Seed.fresh().number)


def must_be_power(only: list[str]) -> None:
    """`power` cuts the power and does nothing else: another kind would be left out without a word."""
    for word in _listed(only, None):
        if word != "power":
            step = f"blackstart run --only {word}"
            raise BlackstartError(f"`blackstart power` tries no kind {word!r}", next_step=step)


def files_from(given: Settings, directory: str) -> dict[str, str]:
    """Where the report goes, by form; raises BlackstartError for what cannot be written."""
    kept = from_file(directory)
    files = {form: _first(getattr(given, form), getattr(kept, form), "") for form in views.FORMS}
    views.check(files)
    return files


def here() -> str:
    """The current directory."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise BlackstartError("the current directory was removed", next_step="go to one that exists") from None


def _listed(given: list[str] | str | None, kept: list[str] | str | None) -> tuple[str, ...]:
    """Words that may also be written with commas between them."""
    return tuple(word for words in _words(_first(given, kept, [])) for word in re.split(r"[,\s]+", words) if word)


def pairs(words: list[str]) -> dict[str, str]:
    """`NAME=VALUE` as a dictionary."""
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise BlackstartError(f"--env {word!r} is not NAME=VALUE", next_step="write it like --env LANG=C")
        found[name] = value
    return found


def from_file(directory: str) -> Settings:
    """The settings of the file that applies, none if there is no such file."""
    path = os.path.join(directory, "blackstart.toml")
    found = _toml(path)
    key = ""
    if found is None:
        path, key = os.path.join(directory, "pyproject.toml"), "tool.blackstart"
        tool = (_toml(path) or {}).get("tool", {})
        found = tool.get("blackstart", {}) if isinstance(tool, dict) else {}
    try:
        return msgspec.convert(found, Settings)
    except msgspec.ValidationError as error:
        raise _bad_key(str(error), path, key) from None


def _toml(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BlackstartError(
            f"the settings cannot be read: {error.strerror}", where=path, next_step="make the file readable"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BlackstartError(f"this is not TOML: {error}", where=path, next_step="correct that line") from None


def _bad_key(text: str, path: str, table: str) -> BlackstartError:
    """msgspec's message with our words and the whole key."""
    known = Settings.__struct_fields__
    unknown = re.search(r"unknown field `(.+?)`", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], known, 1)
        step = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
        key = f"{table}.{unknown[1]}".lstrip(".")
        return BlackstartError(f"there is no key `{key}`", where=path, next_step=step)
    place = re.search(r" - at `\$\.?(.*)`$", text)
    key = f"{table}.{place[1] if place else ''}".strip(".")
    what = text[: place.start()] if place else text
    wanted = re.search(r"xpected `(.+?)`", what)
    is_one = wanted and place and place[1]  # else the whole file is meant
    form = _FORMS.get(" | ".join(sorted(set(wanted[1].split(" | ")) - {"null"})), "") if wanted and is_one else ""
    return BlackstartError(
        f"key `{key}`: {what[:1].lower()}{what[1:]}".replace(" | null`", "`"),
        where=path,
        next_step=f"write {form}" if form else "see `blackstart run --help` for its form",
    )


def _check(options: Options) -> None:
    if not os.path.isdir(options.cwd):
        raise BlackstartError("the working directory does not exist", where=options.cwd, next_step="check --cwd")
    _known("kind", options.only, KINDS)
    _known("isolation", (options.isolation,), ISOLATIONS)
    for name, value in (("--trials", options.trials), ("-j", options.jobs), ("--budget", options.budget_s)):
        if value < 0:
            raise BlackstartError(f"{name} is less than nothing: {value}", next_step="give a number above 0")
    if options.budget_s == 0:
        raise BlackstartError("--budget 0 leaves no time for anything", next_step="give some, as in --budget 2m")
    for name, text in options.env.items():
        if "\0" in name + text or "=" in name:
            raise BlackstartError(f"the variable {name!r} cannot be in an environment", next_step="rename it")


def _known(noun: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            listed = ", ".join(name for name in known if name)
            step = f"did you mean {near[0]!r}? There are {listed}" if near and near[0] else f"there are {listed}"
            raise BlackstartError(f"there is no {noun} {word!r}", next_step=step)


def _words(value: list[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
