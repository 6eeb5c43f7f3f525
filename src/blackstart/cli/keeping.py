"""`baseline`, `diff` and `merge`: what is done with the results of runs that are over."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from blackstart.cli.ending import finish

Cwd = Annotated[str | None, typer.Option("--cwd", metavar="DIR", help="Where the results are kept; else here.")]


def add(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("baseline", short_help="Accept the defects of a run as known gaps.")(baseline)
    app.command("diff")(diff)
    app.command("merge")(merge)


def baseline(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The baseline; entries are added to its end.")],
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run's number, or a JSON report; else the last.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why these defects are accepted.")] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for that.")] = "",
    expires: Annotated[str, typer.Option("--expires", metavar="DAY", help="Until when, such as 2027-06-30.")] = "",
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ID", help="Only these findings.")] = None,
    cwd: Cwd = None,
) -> None:
    """Accept the defects of a run as known gaps, so that only new ones fail the next run."""
    finish(lambda: _baseline(file, run, reason, owner, expires, only or [], cwd))


def diff(
    old: Annotated[str, typer.Argument(metavar="RUN", help="A run's number, or a JSON report.")],
    new: Annotated[str, typer.Argument(metavar="RUN", help="The later one.")],
    cwd: Cwd = None,
) -> None:
    """Say which defects are new, which are fixed, and which stayed.

    Exit status: 0 nothing new, 1 new defects.
    """
    finish(lambda: _diff(old, new, cwd))


def merge(
    stores: Annotated[list[str], typer.Argument(metavar="DIR...", help="Directories with a .blackstart in them.")],
    cwd: Cwd = None,
) -> None:
    """Copy the runs that other machines kept into the store here. Done twice it adds nothing."""
    finish(lambda: _merge(stores, cwd))


def _baseline(file: str, run: str, reason: str, owner: str, expires: str, only: list[str], cwd: str | None) -> int:
    import os

    from blackstart.campaign import baseline as known
    from blackstart.cli import session
    from blackstart.core.errors import BlackstartError
    from blackstart.findings.baseline import added, expired
    from blackstart.report import terminal, views
    from blackstart.report.lookup import load_run

    if not reason.strip():
        raise BlackstartError("a baseline needs a reason", next_step='say why, as in --reason "fixed in 2.0"')
    day = _day(expires)
    place = session.directory(cwd)
    path = os.path.join(place, file)
    report = load_run(run, place)
    chosen = [one for one in report.findings if one.label == "defect" and (not only or one.id in only)]
    if missing := sorted(set(only) - {one.id for one in chosen}):
        ids = ", ".join(one.id for one in report.findings if one.label == "defect")
        raise BlackstartError(f"that run has no defect {missing[0]}", next_step=f"it has {ids or 'none'}")
    entries = known.read(path) if os.path.exists(path) else {}
    text = ""
    if entries or os.path.exists(path):
        with open(path, encoding="utf-8") as kept:
            text = kept.read()
    new = [known.entry_for(one, reason, owner, day) for one in chosen]
    views.write(added(text, new, entries).encode(), path, "name a file that you may write to")
    count = sum(one.fingerprint not in entries for one in new)
    over = [one.id for one in chosen if one.fingerprint in expired(entries, _today())]
    lines = [f"{count} added to {file}, {len(entries)} were there."]
    lines += [f"Expired, so that they fail a run: {', '.join(over)}. Repair them, or change `expires`."] if over else []
    for line in lines:
        terminal.console().print(terminal.line(line), soft_wrap=True)
    return 0


def _today() -> dt.date:
    from blackstart.core.clock import SYSTEM

    return dt.datetime.fromtimestamp(SYSTEM.now()).date()


def _day(text: str) -> dt.date | None:
    from blackstart.core.errors import BlackstartError

    try:
        day = dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise BlackstartError(f"--expires {text!r} is not a day", next_step="write it like 2027-06-30") from None
    if day is not None and day < _today():
        raise BlackstartError(f"--expires {text} has passed", next_step="give the last day on which it may hold")
    return day


def _diff(old: str, new: str, cwd: str | None) -> int:
    from blackstart.cli import session
    from blackstart.report import terminal
    from blackstart.report.change import change_between
    from blackstart.report.lookup import load_run

    place = session.directory(cwd)
    earlier, later = load_run(old, place), load_run(new, place)
    out = terminal.console()
    change = change_between(earlier, later)
    if earlier.command != later.command:
        out.print(terminal.line("These are runs of different commands."))
    terminal.show_change(out, later, change)
    return 1 if change.new else 0


def _merge(stores: list[str], cwd: str | None) -> int:
    from blackstart.cli import session
    from blackstart.core.units import plural
    from blackstart.report import terminal
    from blackstart.store import Store, merge_into

    out = terminal.console()
    with Store(session.directory(cwd)) as store:
        for directory in stores:
            done = merge_into(store, directory)
            were = "was" if done.present == 1 else "were"
            copied = f"{plural(done.copied, 'run')} copied, {done.present} {were} here"
            text = f"{directory}: {copied}, {done.running} not finished"
            out.print(terminal.line(text), soft_wrap=True)
    return 0
