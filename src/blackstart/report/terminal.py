"""The report for people, in 80 columns and without colour as readable as with it.

Nothing that comes from the target is interpreted: no markup, no highlighting, control characters made visible. Long
lists end in a count; the JSON report has them whole. Commands are never wrapped, so that they can be copied.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blackstart.core.frames import shown_frame
from blackstart.core.units import format_duration, plural
from blackstart.core.verdict import CONSEQUENCES, POLICY
from blackstart.report.folding import Fold, folded, ordered
from blackstart.report.impact import sentences
from blackstart.report.model import (
    EXIT_STATUS,
    Change,
    Finding,
    Impact,
    Omission,
    Report,
    ReportDoor,
    ScenarioTest,
    SurfaceFile,
)
from blackstart.report.suite import told
from blackstart.report.text import plain, shell_line

INTERRUPTED = 130
WIDTH = 80
WIDTH_MAX = 100
ITEMS_MAX = 12
PLANNED_MAX = 40
NOTED_MAX = 8
ALSO_MAX = 8
ADVICE_MAX = 3
_LABEL = 12
_INSTALLED = "install"
_STYLE = {"critical": "bold red", "major": "red", "minor": "yellow", "low": "dim"}


class _Console(Console):
    """Leaves it to the command line what a reader that went away means; rich would end with status 1: `findings`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> Console:
    """A console that interprets nothing; colours only on a terminal and where NO_COLOR is not set."""
    made = _Console(file=file, stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if width is None:
        made.width = min(made.width, WIDTH_MAX) if made.is_terminal else WIDTH
    return made


def rendered(report: Report, width: int = WIDTH) -> str:
    """The whole report as text without colours."""
    file = io.StringIO()
    out = Console(
        file=file, width=width, markup=False, highlight=False, emoji=False, color_system=None, force_terminal=False
    )
    show_opening(out, report)
    show(out, report)
    return file.getvalue()


def show_opening(out: Console, report: Report) -> None:
    """The first lines of a run: what is run, on what it depends, which doors are open."""
    _command(out, "Target", report.command)
    if report.isolation:
        _row(out, "Sandbox", report.isolation + (f", {report.jobs} at once" if report.jobs > 1 else ""))
    surface = report.surface
    _heading(out, "Surface")
    roles = _by_role(surface.files)
    for role, paths in roles.items():
        _row(out, role, _listed(paths, ITEMS_MAX if role in ("state", "output") else 5))
    installed = sum(file.role == _INSTALLED for file in surface.files)
    if installed:
        _row(out, _INSTALLED, f"{plural(installed, 'file')} of the program itself; not broken unless named")
    for label, items in (
        ("databases", surface.databases),
        ("peers", surface.peers),
        ("ports", surface.ports),
        ("programs", surface.processes),
        ("signals", surface.signals),
        ("not seen", [_omission(item) for item in surface.unseen]),
    ):
        if items:
            _row(out, label, _listed(items))
    if not roles and not installed:
        _row(out, "files", "none")
    _heading(out, "Doors")
    for state in ("opened", "refused", "contained"):
        doors = [_door(door) for door in report.doors if door.state == state]
        if doors:
            style = "yellow" if state == "opened" else ""
            _row(out, state, "; ".join(doors) if state == "contained" else doors, style=style)
    if not report.doors:
        _row(out, "contained", "all")


def show(out: Console, report: Report) -> None:
    """The result: findings by severity, what was done, what was not, and what the exit status says."""
    if report.mode == "plan":
        _planned(out, report)
    else:
        _headline(out, report)
        findings = ordered(report.findings)
        for fold in folded(finding for finding in findings if finding.counts):
            _story(out, fold)
        _known(out, report)
        _noted(out, [finding for finding in findings if not finding.counts and not finding.known])
        if report.change:
            _heading(out, f"Change against run {report.change.against}")
            show_change(out, report, report.change)
        _trials(out, report)
        _impact(out, report.impact)
    show_tests(out, report.tests)
    for label, items in (("Muted", report.muted), ("Refused", report.refused), ("Not covered", report.uncovered)):
        if items:
            _heading(out, label)
            _bullets(out, [_omission(item) for item in items])
    if report.notes:
        _heading(out, "Notes")
        _bullets(out, report.notes)
    out.print()
    _text(out, f"Exit status {report.exit_status}: {ending(report)}")


def show_change(out: Console, later: Report, change: Change) -> None:
    """What is new, what was fixed, what stayed; what is no longer found but was not tried again is said to be so."""
    named = {finding.id: one_line(finding) for finding in later.findings}
    groups = (
        ("new", [f"{name}: {named.get(name, '')}" for name in change.new]),
        ("fixed", [f"{one.id}: {one.what}" for one in change.gone if one.tried]),
        ("not tried", [f"{one.id}: {one.what}" for one in change.gone if not one.tried]),
        ("seen again", list(change.again)),
    )
    for label, items in groups:
        if items:
            _row(out, label, _listed(items), style="red" if label == "new" else "")
    if not any(items for _, items in groups):
        _row(out, "", "no defects then, none now")


def line(text: str) -> Text:
    """One harmless line, to be printed as it is."""
    return Text(plain(text))


def show_ability(out: Console, name: str, available: bool | None, detail: str = "", cost: str = "") -> None:
    """One row of `doctor`: there or not, what the kernel said, what its absence costs."""
    sign = {True: "yes", False: "no ", None: "   "}[available]
    before = Text(f"  {sign} ", style="green" if available else "yellow")
    said = f"{name} ({detail})" if name and detail else name or detail
    _folded(out, before, f"{said}: {cost}" if cost else said)


def one_line(finding: Finding) -> str:
    """A finding in one sentence, for progress."""
    paths = f" ({', '.join(finding.paths[:2])})" if finding.paths else ""
    return plain(f"{finding.severity}: {finding.consequence}{paths} by {finding.fault}")


def ending(report: Report) -> str:
    """What the exit status says, with the reason of a run that decided nothing."""
    if report.mode == "plan" and report.exit_status == 0:
        return "nothing was injected"
    why = f" ({report.undecided})" if report.undecided else ""
    return EXIT_STATUS.get(report.exit_status, "unknown") + why


def headline(report: Report) -> str:
    """How many findings there are, by consequence; where their absence proves nothing, just that."""
    if report.mode == "plan":
        return f"{plural(len(report.trials.planned), 'trial')} planned, nothing was injected"
    found = Counter(finding.consequence for finding in report.findings if finding.counts)
    others = Counter(
        "known gap" if finding.known else finding.label for finding in report.findings if not finding.counts
    )
    parts = [f"{found[name]} {name}" for name in sorted(found, key=_place_of)]
    many = {POLICY: "policies"}
    rest = [plural(number, label, many.get(label, "")) for label, number in sorted(others.items())]
    total = sum(found.values())
    places = len(folded(ordered(finding for finding in report.findings if finding.counts)))
    none = f"Undecided: {report.undecided}" if report.undecided else "No findings"
    if report.exit_status == INTERRUPTED:
        none = "No findings before it was interrupted"
    where = f" in {plural(places, 'place')}" if places < total else ""
    text = f"{plural(total, 'finding')}{where}: {', '.join(parts)}" if total else none
    return text + (f" (and {', '.join(rest)})" if rest else "")


def _by_role(files: Iterable[SurfaceFile]) -> dict[str, list[str]]:
    """Paths by role, what matters most first; those of the working directory before others."""
    order = ("state", "output", "config", "lock", "cache", "scratch", "log")
    found: dict[str, list[str]] = {role: [] for role in order}
    for file in sorted(files, key=lambda file: (not file.path.startswith("$CWD"), file.path)):
        if file.role != _INSTALLED:
            calls = f" ({plural(file.calls, 'call')})" if file.calls else ""
            found.setdefault(file.role, []).append(file.path + calls)
    return {role: paths for role, paths in found.items() if paths}


def _place_of(consequence: str) -> int:
    return CONSEQUENCES.index(consequence) if consequence in CONSEQUENCES else len(CONSEQUENCES)


def _headline(out: Console, report: Report) -> None:
    out.print()
    style = "bold red" if any(finding.counts for finding in report.findings) else "bold"
    _text(out, headline(report), style=style)


def _story(out: Console, fold: Fold) -> None:
    finding = fold.first
    out.print()
    title = Text(f"{finding.severity.upper()}  ", style=_STYLE[finding.severity])
    named = finding.id if finding.id.startswith(finding.consequence) else f"{finding.consequence}  {finding.id}"
    title.append(plain(named), style="bold")
    out.print(title)
    _row(out, "fault", finding.fault)
    if finding.where:
        _row(out, "where", finding.where)
    if finding.paths:
        _row(out, "files", _listed(finding.paths, 5))
    if finding.evidence:
        _row(out, "evidence", _listed(finding.evidence, 6))
    if finding.stack:
        _row(out, "stack", _listed([shown_frame(frame) for frame in finding.stack], 6))
    advice = [finding.advice] if finding.advice else []
    advice += [f"For {name}: {text}" for name, text in fold.more_advice]
    if advice:
        _row(out, "advice", _listed(advice, ADVICE_MAX))
    counted = f" ({plural(finding.trials, 'trial')})" if finding.trials > 1 else ""
    if finding.reproduced:
        _row(out, "reproduced", finding.reproduced + counted)
    if finding.replay:
        _copied(out, "replay", finding.replay)
    if fold.others:
        _row(out, "also", _listed([f"{one.id}: {one.fault}" for one in fold.others], ALSO_MAX))


def _known(out: Console, report: Report) -> None:
    """Defects that a baseline file accepts, and what can leave that file."""
    known, used = [finding for finding in report.findings if finding.known], report.baseline
    if known or (used and (used.expired or used.fixed)):
        _heading(out, "Known gaps")
    for finding in known:
        _folded(out, Text("  - "), f"{finding.id}: {finding.consequence} by {finding.fault}: {finding.known}")
    if used:
        for name in used.expired:
            _folded(out, Text("  - "), f"{name}: its entry in the baseline has expired, so it counts again")
        for gone in used.fixed:
            told = f"{gone.id or gone.fingerprint}: fixed, and can leave the baseline ({gone.what})"
            _folded(out, Text("  - "), told)


def _noted(out: Console, findings: Sequence[Finding]) -> None:
    """Policies and notes, which fail no run: three lines for all that do the same harm in one place."""
    if findings:
        _heading(out, "No defects, but worth knowing")
    for fold in (folds := folded(findings))[:NOTED_MAX]:
        finding, more = fold.first, f" (and {len(fold.others)} alike)" if fold.others else ""
        said = f": {finding.evidence[0]}" if finding.evidence else ""
        _folded(out, Text("  - "), f"{finding.consequence} ({finding.label}): {finding.fault}{more}{said}")
        out.print(Text("    " + plain(finding.replay, 100_000), style="dim"), soft_wrap=True)
    if len(folds) > NOTED_MAX:
        _folded(out, Text("  - "), f"… and {len(folds) - NOTED_MAX} more; --json FILE has them all")


def _trials(out: Console, report: Report) -> None:
    trials, calibration = report.trials, report.calibration
    _heading(out, "Trials")
    summary = f"{trials.total} in {format_duration(round(report.elapsed_s, 1))}"
    clean = f"{plural(calibration.clean_runs, 'clean run')} and {plural(calibration.null_trials, 'null trial')}"
    _row(out, "total", f"{summary}, after {clean}")
    if trials.kinds:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name in ("  kind", "passed", "failed", "unknown", "not fired"):
            table.add_column(name, justify="left" if name == "  kind" else "right", no_wrap=True)
        for kind in trials.kinds:
            numbers = (kind.passed, kind.failed, kind.unknown, kind.not_fired)
            table.add_row(Text("  " + plain(kind.kind)), *(Text(str(number)) for number in numbers))
        out.print(table)
    for cut in trials.cut:
        _row(out, "not run", f"{cut.count}{' ' + cut.kind if cut.kind else ''}: {cut.why}")
    if report.scenarios:
        states: Counter[str] = Counter(one.state for one in report.scenarios)
        order = ("passed", "failed", "unknown", "not tried")
        _row(out, "scenarios", ", ".join(f"{states[state]} {state}" for state in order if states[state]))
    if calibration.masked:
        _row(out, "masked", _listed(calibration.masked, 5))
    _row(out, "seed", str(report.seed))


def _impact(out: Console, impacts: Sequence[Impact]) -> None:
    """What those who use a service saw, a line for each kind and stage."""
    if impacts:
        _heading(out, "Impact on those who use it")
    for one in impacts:
        _row(out, one.kind, sentences(one))


def show_tests(out: Console, tests: Sequence[ScenarioTest]) -> None:
    """What the project's own tests say of scenarios."""
    for label, text in told(tests):
        _folded(out, Text(f"  {label:<{_LABEL - 2}}"), text)


def _planned(out: Console, report: Report) -> None:
    planned = report.trials.planned
    kinds = Counter(trial.kind for trial in planned)
    _heading(out, "Plan")
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    _row(out, "trials", f"{len(planned)} ({listed}); nothing was injected" if planned else "none")
    for number, trial in enumerate(planned[:PLANNED_MAX], start=1):
        places = f", for {trial.places} places" if trial.places > 1 else ""
        phase = f", in the {trial.phase}" if trial.phase != "run" else ""
        path = f"  {trial.path}" if trial.path and trial.path not in trial.fault else ""
        _row(out, f"{number:>4}", f"{trial.fault}{path}{phase}{places}")
    if len(planned) > PLANNED_MAX:
        _row(out, "", f"… and {len(planned) - PLANNED_MAX} more; --json FILE has them all")
    for cut in report.trials.cut:
        _row(out, "not run", f"{cut.count}{' ' + cut.kind if cut.kind else ''}: {cut.why}")


def _door(door: ReportDoor) -> str:
    name = f"{door.kind} {door.address}".strip()
    return f"{name}: {door.why}" if door.why and door.state != "contained" else name


def _omission(item: Omission) -> str:
    return f"{item.what}: {item.why}" if item.why else item.what


def _listed(items: Sequence[str], most: int = ITEMS_MAX) -> list[str]:
    shown = list(items[:most])
    return shown if len(items) <= most else [*shown, f"… and {len(items) - most} more"]


def _heading(out: Console, text: str) -> None:
    out.print()
    out.print(Text(text, style="bold"))


def _text(out: Console, text: str, style: str = "") -> None:
    _folded(out, Text(""), text, style)


def _bullets(out: Console, items: Sequence[str]) -> None:
    for item in _listed(items):
        _folded(out, Text("  - "), item)


def _row(out: Console, label: str, text: str | Sequence[str], style: str = "") -> None:
    """A label and its text, folded below itself; several texts stand one below the other."""
    for number, line in enumerate([text] if isinstance(text, str) else text):
        name = f"  {plain(label)}" if number == 0 else ""
        _folded(out, Text(name.ljust(_LABEL + 1), style="dim"), line, style)


def _folded(out: Console, before: Text, text: str, style: str = "") -> None:
    """One text behind `before`, its other lines below itself; no spaces at the ends of lines."""
    indent = before.cell_len
    lines = Text(plain(text), style=style).wrap(out, max(out.width - indent, 20), overflow="fold")
    for number, line in enumerate(lines):
        line.rstrip()
        # Not `before + line`: that would lay the style of the first over the second.
        out.print(Text.assemble(before if number == 0 else " " * indent, line), soft_wrap=True)


def _copied(out: Console, label: str, command: str) -> None:
    before = (f"  {label}".ljust(_LABEL + 1), "dim")
    out.print(Text.assemble(before, (plain(command, 100_000), "bold")), soft_wrap=True)


def _command(out: Console, label: str, command: Sequence[str]) -> None:
    _copied(out, label, shell_line(tuple(command)))
