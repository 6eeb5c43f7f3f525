"""What each command does: call the campaign, show what it gives, find the exit status."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
from rich.console import Console

from blackstart.cli.settings import here
from blackstart.core.errors import BlackstartError, SandboxUnavailable
from blackstart.core.options import Options
from blackstart.core.units import plural
from blackstart.core.verdict import FAILED, PASSED
from blackstart.report import terminal, views
from blackstart.report.live import progress_for
from blackstart.report.lookup import Located, load_finding, load_run, tests_alone
from blackstart.report.model import Report
from blackstart.report.progress import Progress
from blackstart.report.text import shell_line
from blackstart.store import DIRECTORY, Store, keep_aside

UNDECIDED, UNDECIDED_BISECT, ABORT_BISECT = 3, 125, 128
# Where the report goes, by form.
Files = Mapping[str, str]


def run(options: Options, files: Files) -> int:
    """The main job; its report is shown, and written where it was asked for."""
    from blackstart import campaign

    out, progress = _listeners(files)
    with _cleared(progress):
        found = campaign.run(options, progress)
    return _shown(out, found, files)


def plan(options: Options, files: Files) -> int:
    """What `run` would do."""
    from blackstart import campaign

    out, progress = _listeners(files)
    with _cleared(progress):
        found = campaign.plan(options, progress)
    return _shown(out, found, files)


def _located(reference: str, directory: str, bisect: bool) -> Located:
    """The finding; where there is none nothing can be searched for, which git takes from a status above 127."""
    try:
        return load_finding(reference, directory)
    except BlackstartError as error:
        error.exit_status = ABORT_BISECT if bisect else error.exit_status
        raise


def replay(
    reference: str,
    directory: str,
    *,
    times: int = 1,
    bisect: bool = False,
    allow: list[str] | None = None,
    isolation: str | None = None,
) -> int:
    """A finding's trial again, some times; the exit status is that of the worst decided one.

    bisect: what keeps this commit's program from being tried is undecided, too.
    """
    from blackstart import campaign
    from blackstart.criteria import claim_share

    out, progress = _listeners({})
    located = _located(reference, directory, bisect)
    options = msgspec.structs.replace(
        located.options,
        allow=tuple(allow) if allow else located.options.allow,
        isolation=located.options.isolation if isolation is None else isolation,
    )
    out.print(
        terminal.line(f"Replaying {located.finding.get('id', '')}: {shell_line(options.command)}"), soft_wrap=True
    )
    outcomes = []
    for _ in range(times):
        try:
            with _cleared(progress):
                result = campaign.replay(located.finding, options, progress)
        except BlackstartError as error:
            if not bisect:
                raise
            progress.note(error.what)
            return UNDECIDED_BISECT
        for line in (*result.lines, *_kept(directory, str(located.finding.get("id", "")), result.said)):
            out.print(terminal.line(line), soft_wrap=True)
        outcomes.append(result.outcome)
    failures, decided = outcomes.count(FAILED), sum(outcome in (FAILED, PASSED) for outcome in outcomes)
    if times > 1:
        out.print(terminal.line(f"It failed {claim_share(failures, decided)}."))
    if failures:
        out.print(terminal.line("It still fails."))
        return 1
    out.print(
        terminal.line("It no longer fails." if decided else "Undecided: the fault did not do what it did before.")
    )
    return 0 if decided else UNDECIDED_BISECT if bisect else UNDECIDED


def _kept(directory: str, name: str, said: Mapping[str, bytes]) -> Iterator[str]:
    """Where all stands that the program said, if not all was shown; where it cannot be kept, the answer counts."""
    if said:
        try:
            yield f"all that it said: {', '.join(keep_aside(directory, name, said))}"
        except BlackstartError as error:
            yield f"only a part of what it said is shown: {error.what}"


def image(words: list[str], directory: str) -> int:
    """A finding's disk as files in a directory."""
    from blackstart import campaign

    if len(words) != 2:
        raise BlackstartError(
            "power image takes a finding and a directory", next_step="blackstart power image FINDING DIR"
        )
    out, progress = _listeners({})
    located = load_finding(words[0], directory)
    told = campaign.disk(located.finding, located.options, os.path.join(directory, words[1]), progress)
    progress.clear()
    for line in told:
        out.print(terminal.line(line), soft_wrap=True)
    return 0


def export(reference: str, file: str, directory: str, isolation: str | None = None) -> int:
    """A finding for somebody without blackstart, as one archive."""
    from blackstart import campaign
    from blackstart.report.archive import safe_name

    out, progress = _listeners({})
    located = load_finding(reference, directory)
    options = located.options
    if isolation is not None:
        options = msgspec.structs.replace(options, isolation=isolation)
    place = os.path.join(directory, file or safe_name(str(located.finding.get("id", ""))) + ".tar.gz")
    with _cleared(progress):
        told = campaign.export(located.finding, options, place, progress)
    for line in [*told, f"Written: {place}"]:
        out.print(terminal.line(line), soft_wrap=True)
    return 0


def report(name: str, directory: str, files: Files) -> int:
    """A kept run, or a JSON report, as text and in the other forms that were asked for."""
    out = terminal.console(stderr=views.STDOUT in files.values())
    views.check(files)
    if not name and not files and (tests := tests_alone(directory)):
        terminal.show_tests(out, tests)
        return 0
    return _again(out, load_run(name, directory), files)


def list_runs(directory: str) -> int:
    """One line for each run that is kept, newest first."""
    out = terminal.console()
    with Store(directory, create=False) as store:
        for kept in store.runs():
            when = datetime.fromtimestamp(kept.started, UTC).strftime("%Y-%m-%d %H:%M")
            state = plural(kept.findings, "finding") if kept.finished else "no end"
            text = f"{kept.id:>4}  {when}  {plural(kept.trials, 'trial'):>12}  {state:>12}  {shell_line(kept.command)}"
            out.print(terminal.line(text), soft_wrap=True)
    return 0


def doctor() -> int:
    """What this machine allows; 3 where no run is possible."""
    from blackstart.sandbox import machine

    out = terminal.console()
    found = machine.probe()
    out.print(terminal.line(f"Linux {found.kernel}, {found.architecture}, user {found.user}"))
    for ability in found.abilities:
        terminal.show_ability(out, ability.name, ability.available, ability.detail, ability.cost)
    for hint in found.hints:
        terminal.show_ability(out, "", None, hint)
    try:
        out.print(terminal.line(f"Trials run in: {machine.choose(found)}"))
    except SandboxUnavailable as error:
        out.print(terminal.line("No trial can run here."))
        raise error
    return 0


def undo(directory: str) -> int:
    """Heal what was left in this directory's ledger; 3 where something could not be healed."""
    from blackstart import guard

    out = terminal.console()
    left = 0
    done = guard.undo(os.path.join(directory, DIRECTORY, guard.LEDGER))
    for change in done:
        out.print(terminal.line(f"{change.what}: {change.outcome}"), soft_wrap=True)
        left += change.is_left
    if not done:
        out.print(terminal.line("Nothing was left to undo."))
    return UNDECIDED if left else 0


def directory(cwd: str | None) -> str:
    """Where results are kept: the current directory, or the one that was named."""
    path = os.path.join(here(), cwd or "")
    if not os.path.isdir(path):
        raise BlackstartError("this directory does not exist", where=path, next_step="check --cwd")
    return os.path.normpath(path)


def _listeners(files: Files) -> tuple[Console, Progress]:
    """The console of the report, which leaves standard output to a report that goes there, and who tells progress."""
    out = terminal.console(stderr=views.STDOUT in files.values())
    return out, progress_for(out, out if out.is_terminal else terminal.console(stderr=True))


@contextmanager
def _cleared(progress: Progress) -> Iterator[None]:
    """Whatever comes next, last words too, begins on a clean line."""
    try:
        yield
    finally:
        progress.clear()


def _shown(out: Console, found: Report, files: Files) -> int:
    terminal.show(out, found)
    views.write_all(found, files)
    return found.exit_status


def _again(out: Console, found: Report, files: Files) -> int:
    terminal.show_opening(out, found)
    _shown(out, found, files)
    return 0
