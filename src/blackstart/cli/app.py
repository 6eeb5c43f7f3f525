"""The commands and their options; what they do stands in `session` and is imported when it is done."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from blackstart import __version__
from blackstart.cli import catalogue as scenarios_command
from blackstart.cli import failpoints, inject, keeping, net, pin
from blackstart.cli.ending import finish

app = typer.Typer(
    name="blackstart",
    help="Run a program, break each thing that it depends on, and say which failures it does not survive.",
    epilog="Exit status: 0 nothing new, 1 new findings, 2 wrong usage, 3 undecided, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# The target's own options begin with its name, so they are never taken for ours.
_TARGET = {"allow_interspersed_args": False}

Command = Annotated[list[str] | None, typer.Argument(metavar="-- CMD...", help="The program and its arguments.")]
State = Annotated[
    list[str] | None, typer.Option("--state", metavar="PATH", help="A state file or directory; repeatable; else found.")
]
Check = Annotated[
    str | None, typer.Option("--check", metavar="CMD", help="A shell command that asks the program's state.")
]
Stdin = Annotated[str | None, typer.Option("--stdin", metavar="FILE", help="What the program reads; else nothing.")]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable of its environment; repeatable.")
]
Cwd = Annotated[str | None, typer.Option("--cwd", metavar="DIR", help="Where it starts, and where results are kept.")]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="DOOR", help="Open socket:PATH, device:PATH or peer:HOST:PORT; repeatable."),
]
Budget = Annotated[str | None, typer.Option("--budget", metavar="TIME", help="How long it may take, such as 2m.")]
Trials = Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help="How many trials, instead of a time.")]
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", metavar="N", min=1, help="Trials at once; else one per processor.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="KIND,...",
        help="These kinds: errno, kill, signal, file, db, power, disk, limit, kill-one, time, link, peer, "
        "dns, clients.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of every draw; else a new one.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - is stdout.")]
Html = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write the report as one page for people.")]
Junit = Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Write the report as JUnit XML.")]
Sarif = Annotated[
    str | None, typer.Option("--sarif", metavar="FILE", help="Write the report as SARIF, for code hosts.")
]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write the report as Markdown, for a comment.")
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", metavar="FILE", help="Defects that are known and fail no run.")
]
Scenarios = Annotated[list[str] | None, typer.Option("--scenarios", metavar="FILE", help="More scenarios; repeatable.")]
Isolation = Annotated[
    str | None,
    typer.Option("--isolation", metavar="MODE", help="namespaces or landlock; else what this machine allows."),
]
Ready = Annotated[
    str | None,
    typer.Option(
        "--ready", metavar="SPEC", help="A service: tcp:PORT, http:URL, log:REGEX, file:PATH or sleep:2s tell it is up."
    ),
]
Workload = Annotated[
    str | None,
    typer.Option("--workload", metavar="CMD", help="Uses the service; prints `ok ID`, `fail ID` or `info ID`."),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="CMD", help="What the program needs, started first beside it; repeatable."),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME,...", help="File systems for power cuts, such as ext4 or xfs."),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blackstart {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run a program, break each thing that it depends on, and say which failures it does not survive."""


@app.command("power", context_settings=_TARGET, help="Cut the power only. `power image FINDING DIR` writes a disk out.")
@app.command("plan", context_settings=_TARGET, help="Show the surface, doors and trials of a run; break nothing.")
@app.command(context_settings=_TARGET, help="Break what a program depends on, and report what it costs.")
def run(
    context: typer.Context,
    command: Command = None,
    state: State = None,
    check: Check = None,
    stdin: Stdin = None,
    env: Env = None,
    cwd: Cwd = None,
    allow: Allow = None,
    budget: Budget = None,
    trials: Trials = None,
    jobs: Jobs = None,
    only: Only = None,
    seed: SeedOption = None,
    json: Json = None,
    html: Html = None,
    junit: Junit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
    baseline: Baseline = None,
    scenarios: Scenarios = None,
    isolation: Isolation = None,
    model: Models = None,
    ready: Ready = None,
    workload: Workload = None,
    companions: With = None,
) -> None:
    """`run`, `plan` and `power`: one list of options, so that a line tried with one can be done with another."""
    given = {name: value for name, value in locals().items() if name != "context"}
    if context.info_name == "power":
        given["only"], named = ["power"], only
        if command and command[0] == "image" and "--" not in sys.argv:
            finish(lambda: _image(command[1:], cwd))
            return

    def job() -> int:
        from blackstart.cli import session, settings

        if context.info_name == "power":
            settings.must_be_power(named or [])
        given["env"] = settings.pairs(given["env"] or [])
        said, place = settings.Settings(**given), settings.here()
        options, files = settings.options_from(said, place), settings.files_from(said, place)
        return session.plan(options, files) if context.info_name == "plan" else session.run(options, files)

    finish(job)


def _image(words: list[str], cwd: str | None) -> int:
    from blackstart.cli import session

    return session.image(words, session.directory(cwd))


@app.command(short_help="Write a finding into an archive for somebody without blackstart.")
def export(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="An id, or REPORT.json#ID.")],
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="The archive; else FINDING.tar.gz.")] = "",
    cwd: Cwd = None,
    isolation: Isolation = None,
) -> None:
    """Write what the failing trial left, how to start there, and what happened into a tar archive."""

    def job() -> int:
        from blackstart.cli import session

        return session.export(finding, file, session.directory(cwd), isolation)

    finish(job)


@app.command()
def replay(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="An id, or REPORT.json#ID.")],
    times: Annotated[int, typer.Option("--times", metavar="N", min=1, help="How often, to see how steady it is.")] = 1,
    bisect: Annotated[bool, typer.Option("--bisect", help="Exit 125 where undecided, for git-bisect run.")] = False,
    cwd: Cwd = None,
    allow: Allow = None,
    isolation: Isolation = None,
) -> None:
    """Do a finding's trial again, step by step.

    Exit status: 0 it no longer fails, 1 it fails, 3 undecided.
    """

    def job() -> int:
        from blackstart.cli import session

        place = session.directory(cwd)
        return session.replay(finding, place, times=times, bisect=bisect, allow=allow, isolation=isolation)

    finish(job)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run's number, or a JSON report; else the last.")] = "",
    runs: Annotated[bool, typer.Option("--runs", help="List all runs that are kept.")] = False,
    cwd: Cwd = None,
    json: Json = None,
    html: Html = None,
    junit: Junit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
) -> None:
    """Show the report of a run again, or write it in another form."""

    def job() -> int:
        from blackstart.cli import session

        place = session.directory(cwd)
        files = {"json": json, "html": html, "junit": junit, "sarif": sarif, "markdown": markdown}
        named = {form: file for form, file in files.items() if file}
        return session.list_runs(place) if runs else session.report(run, place, named)

    finish(job)


@app.command()
def doctor() -> None:
    """Say what this machine allows, and what each absence costs."""

    def job() -> int:
        from blackstart.cli import session

        return session.doctor()

    finish(job)


@app.command()
def undo() -> None:
    """Heal what a killed run left changed outside its sandbox."""

    def job() -> int:
        from blackstart.cli import session

        return session.undo(session.directory(None))

    finish(job)


@app.command(short_help="Serve fault proxies, for Toxiproxy's clients or from a file.")
def proxy(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Where the API listens.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Its port; 0: a free one.")
    ] = 8474,
    config: Annotated[str, typer.Option("--config", metavar="FILE", help="Proxies to begin with, as JSON.")] = "",
    seed: SeedOption = None,
    token: Annotated[str, typer.Option("--token", metavar="TOKEN", help="What a client of the API must show.")] = "",
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Want no token, though others can reach the API.")
    ] = False,
    proxy_metrics: Annotated[bool, typer.Option("--proxy-metrics", help="Count bytes and hits at /metrics.")] = False,
    runtime_metrics: Annotated[bool, typer.Option("--runtime-metrics", help="Show this process at /metrics.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show the proxies and what passes, as it happens.")] = False,
) -> None:
    """Serve fault proxies, driven by Toxiproxy's clients or from a file."""
    given = {name: value for name, value in locals().items() if name != "live"}

    def job() -> int:
        from blackstart.cli import proxy as command
        from blackstart.proxy import ServeOptions

        return command.run(ServeOptions(**given), live)

    finish(job)


net.add(app)
inject.add(app)
keeping.add(app)
failpoints.add(app)
pin.add(app)
scenarios_command.add(app)
