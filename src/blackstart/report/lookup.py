"""Finding a finding: an id in the store of this directory, or `REPORT.json#ID`, because a clone has no store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import msgspec

from blackstart.core.errors import BlackstartError
from blackstart.core.options import Options
from blackstart.report import json
from blackstart.report.model import Report, ScenarioTest
from blackstart.report.text import each_string, shell_line, unescape
from blackstart.store import Run, Store


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as a plain dict with its text as it was, and the options of the run that found it.

    The options' `cwd` is `directory`: in another clone the same command starts there.
    """

    finding: dict[str, Any]
    options: Options


def load_finding(reference: str, directory: str) -> Located:
    """The finding that `reference` names, seen from `directory`; an id may be cut short while it stays unique."""
    path, sign, identity = reference.rpartition("#")
    if sign and path:
        return _from_report(os.path.join(directory, path), identity, directory)
    if os.path.isfile(os.path.join(directory, reference)):
        raise BlackstartError(
            "this is a report, not a finding", where=reference, next_step=f"say which of its findings: {reference}#ID"
        )
    with Store(directory, create=False) as store:
        kept = store.finding(reference)
        run = store.run(kept.run)
    finding = each_string(msgspec.json.decode(kept.data), unescape)
    return Located(finding=finding, options=options_of_run(run, directory))


def options_of_run(run: Run, directory: str) -> Options:
    """The options with which a stored run was started."""
    stored = each_string(msgspec.json.decode(run.options or b"{}"), unescape)
    return _options({**stored, "command": run.command, "seed": run.seed}, directory)


def load_run(name: str, directory: str) -> Report:
    """The report of a run by its number, "" for the last one, or a JSON report by its path seen from `directory`."""
    if name and not name.isdecimal():
        return load_report(os.path.join(directory, name))
    with Store(directory, create=False) as store:
        kept = store.run(int(name)) if name else store.last_run()
        if kept is None:
            raise BlackstartError("no run is kept here yet", where=store.folder, next_step="blackstart run -- CMD")
        if kept.report is None:
            ids = ", ".join(found.id for found in store.findings(kept.id))
            raise BlackstartError(
                f"run {kept.id} did not end by itself, or is still running: it has no report",
                where=shell_line(kept.command),
                next_step=f"blackstart replay ID, with the ids {ids}" if ids else "start it again",
            )
        tests = tests_in(store)
    return msgspec.structs.replace(json.decode(kept.report, where=f"run {kept.id}"), tests=tests)


def tests_in(store: Store) -> tuple[ScenarioTest, ...]:
    """What the tests of scenarios last found that were run in this directory."""
    return tuple(
        ScenarioTest(
            scenario=one.scenario,
            test=one.test,
            outcome=one.outcome,  # type: ignore[arg-type]
            reason=one.reason,
            finished=datetime.fromtimestamp(one.finished, UTC).isoformat(timespec="seconds"),
        )
        for one in store.tests()
    )


def tests_alone(directory: str) -> tuple[ScenarioTest, ...]:
    """The same where no run is kept, but tests are; else nothing."""
    with Store(directory, create=False) as store:
        return tests_in(store) if store.last_run() is None else ()


def load_report(path: str) -> Report:
    """A JSON report, whole."""
    return json.decode(_bytes(path), where=path)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BlackstartError(
            f"the report cannot be read: {error.strerror}", where=path, next_step="check the path"
        ) from None


def _from_report(path: str, identity: str, directory: str) -> Located:
    # As plain values: findings stay readable when other parts of the report have a younger form.
    report = each_string(json.decode_plain(_bytes(path), where=path), unescape)
    findings = report.get("findings")
    listed = [f for f in findings if isinstance(f, dict)] if isinstance(findings, list) else []
    exact = [found for found in listed if found.get("id") == identity]
    begun = [found for found in listed if identity and str(found.get("id", "")).startswith(identity)]
    chosen = exact or begun
    names = ", ".join(str(found.get("id")) for found in (chosen or listed)[:5])
    if len(chosen) != 1:
        what = f"several findings begin with {identity!r}" if chosen else f"this report has no finding {identity!r}"
        raise BlackstartError(what, where=path, next_step=f"say one of: {names}" if names else "it has no findings")
    settings = report.get("options") if isinstance(report.get("options"), dict) else {}
    asked = {**(settings or {}), "command": report.get("command", ()), "seed": report.get("seed", 0)}
    return Located(finding=chosen[0], options=_options(asked, directory, path))


def _options(value: dict[str, Any], directory: str, where: str = "") -> Options:
    known = {name: value[name] for name in Options.__struct_fields__ if name in value}
    try:
        return msgspec.convert({**known, "cwd": directory, "json": ""}, Options)
    except msgspec.ValidationError as error:
        raise BlackstartError(
            f"the settings of that run cannot be read: {error}", where=where, next_step="run again"
        ) from None
