"""What people see, as gold files; hostile text does nothing; 80 columns are enough."""

from __future__ import annotations

import io
from collections.abc import Callable

import msgspec
import pytest

from blackstart.report import terminal
from blackstart.report.model import Finding, Report
from tests.unit.report.samples import CRASHED, FULL, LOST, PLANNED, POLICY, QUIET, UNDECIDED

Gold = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("name", "report"), [("full", FULL), ("quiet", QUIET), ("undecided", UNDECIDED), ("plan", PLANNED)]
)
def test_a_report_looks_as_it_was_agreed(name: str, report: Report, gold: Gold) -> None:
    gold(terminal.rendered(report), f"report/{name}.txt")


def test_lines_are_at_most_80_columns_and_end_without_spaces() -> None:
    wide = msgspec.structs.replace(FULL, notes=("long " * 100, "x" * 300))
    for line in terminal.rendered(wide).splitlines():
        assert len(line) <= 80 or "Target" in line, line
        assert line == line.rstrip()


def test_hostile_text_is_shown_not_obeyed() -> None:
    text = terminal.rendered(FULL)
    assert "\x1b" not in text and "\u202e" not in text and "[bold]not bold[/bold]" in text and ":smile:" in text
    out = io.StringIO()
    console = terminal.console(out, width=80)
    console.print(terminal.line("\x1b[31m[red]x[/red] https://a.example 12"))
    assert out.getvalue() == "\\x1b[31m[red]x[/red] https://a.example 12\n"


def test_a_command_is_never_wrapped() -> None:
    replay = "blackstart replay " + "r" * 200
    text = terminal.rendered(msgspec.structs.replace(FULL, findings=(msgspec.structs.replace(LOST, replay=replay),)))
    assert f"  replay     {replay}\n" in text


def test_colours_come_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = []
    for wanted in ("", "1"):
        monkeypatch.setenv("NO_COLOR", wanted)
        file = Terminal()
        terminal.show(terminal.console(file), FULL)
        shown.append(file.getvalue())
    assert "\x1b[1;31m" in shown[0]
    assert "31m" not in shown[1].replace("\\x1b[31m", "")


@pytest.mark.parametrize(
    ("findings", "line"),
    [
        ((), "No findings"),
        ((LOST,), "1 finding: 1 lost"),
        ((CRASHED, LOST, LOST), "3 findings: 2 lost, 1 crashed"),
        ((POLICY,), "No findings (and 1 policy)"),
        ((POLICY, POLICY, LOST), "1 finding: 1 lost (and 2 policies)"),
    ],
)
def test_findings_are_counted_by_consequence(findings: tuple[Finding, ...], line: str) -> None:
    assert terminal.headline(msgspec.structs.replace(QUIET, findings=findings)) == line


def test_the_worst_comes_first() -> None:
    assert [f.id for f in terminal.ordered((POLICY, CRASHED, LOST))] == [LOST.id, CRASHED.id, POLICY.id]


def test_a_finding_in_one_line_is_harmless() -> None:
    line = terminal.one_line(msgspec.structs.replace(LOST, fault="\x1b[2J\nkill"))
    assert line == r"critical: lost ($CWD/notes.json) by \x1b[2J\nkill"
