"""What people see, as gold files; hostile text does nothing; 80 columns are enough."""

from __future__ import annotations

import io
from collections.abc import Callable

import msgspec
import pytest

from blackstart.report import markdown, terminal
from blackstart.report.folding import folded, ordered
from blackstart.report.model import Cut, Finding, Report
from tests.unit.report.samples import CRASHED, FOLDED, FULL, LOST, PLANNED, POLICY, QUIET, UNDECIDED

Gold = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("name", "report"),
    [("full", FULL), ("folded", FOLDED), ("quiet", QUIET), ("undecided", UNDECIDED), ("plan", PLANNED)],
)
def test_a_report_looks_as_it_was_agreed(name: str, report: Report, gold: Gold) -> None:
    gold(terminal.rendered(report), f"report/{name}.txt")


def test_lines_are_at_most_80_columns_and_end_without_spaces() -> None:
    wide = msgspec.structs.replace(FULL, notes=("long " * 100, "x" * 300))
    for line in terminal.rendered(wide).splitlines():
        assert len(line) <= 80 or "Target" in line, line
        assert line == line.rstrip()


def test_a_known_gap_says_what_it_is_and_why_it_is_accepted() -> None:
    known = msgspec.structs.replace(LOST, known="rewritten in 2.0 (Ann)")
    text = " ".join(terminal.rendered(msgspec.structs.replace(FULL, findings=(known,))).split())
    assert f"- {LOST.id}: lost by {LOST.fault}: rewritten in 2.0 (Ann)" in text


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


class Terminal(io.StringIO):
    """What a report is shown on that takes colours."""

    def isatty(self) -> bool:
        return True


def test_only_the_label_of_a_line_is_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Terminal()
    out = terminal.console(file, width=80)
    terminal.show_opening(out, FULL)
    terminal.show(out, FULL)
    terminal.show_ability(out, "overlay", True)
    text = file.getvalue()
    assert f"\x1b[2m  fault      \x1b[0m{LOST.fault[:20]}" in text
    assert f"\x1b[2m  replay     \x1b[0m\x1b[1m{LOST.replay}\x1b[0m\n" in text
    assert text.endswith("\x1b[32m  yes \x1b[0moverlay\n")


def test_colours_come_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
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
        ((CRASHED, LOST, LOST), "3 findings in 2 places: 2 lost, 1 crashed"),
        ((POLICY,), "No findings (and 1 policy)"),
        ((POLICY, POLICY, LOST), "1 finding: 1 lost (and 2 policies)"),
    ],
)
def test_findings_are_counted_by_consequence(findings: tuple[Finding, ...], line: str) -> None:
    assert terminal.headline(msgspec.structs.replace(QUIET, findings=findings)) == line


def test_a_run_that_was_interrupted_claims_no_silence() -> None:
    report = msgspec.structs.replace(QUIET, exit_status=130)
    assert terminal.headline(report) == "No findings before it was interrupted"
    assert terminal.headline(msgspec.structs.replace(report, findings=(LOST,))) == "1 finding: 1 lost"


def test_what_was_cut_is_told_in_markdown_as_on_the_terminal() -> None:
    cut = (Cut(count=4, kind="", why="the budget was spent"), Cut(count=2, kind="errno", why="the budget was spent"))
    trials = msgspec.structs.replace(QUIET.trials, cut=cut)
    told = markdown.render(msgspec.structs.replace(QUIET, trials=trials)).decode()
    assert "- not run: 4: the budget was spent\n- not run: 2 errno: the budget was spent\n" in told


def test_the_worst_comes_first() -> None:
    assert [f.id for f in ordered((POLICY, CRASHED, LOST))] == [LOST.id, CRASHED.id, POLICY.id]


def test_what_needs_two_faults_comes_after_what_needs_one() -> None:
    plans: tuple[list[dict[str, str]], ...] = ([{"fault": "kill"}, {"fault": "kill"}], [{"fault": "failing-sync"}])
    twofold = [
        msgspec.structs.replace(LOST, id=f"two-{at}", plan={"faults": plan}, trials=9) for at, plan in enumerate(plans)
    ]
    assert [f.id for f in ordered((*twofold, LOST))] == [LOST.id, "two-0", "two-1"]


def test_the_same_harm_by_other_faults_is_one_line_each() -> None:
    index = ("$CWD/index.json",)
    other = msgspec.structs.replace(LOST, id="lost-0002", trials=1, fault="the disk is full", paths=index)
    mended = msgspec.structs.replace(other, id="lost-0003", advice="Something else.")
    elsewhere = msgspec.structs.replace(LOST, id="lost-0004", paths=("$HOME/notes.json",))
    nameless = [msgspec.structs.replace(LOST, id=f"lost-000{n}", paths=()) for n in (5, 6)]
    folds = folded((LOST, other, mended, elsewhere, *nameless))
    assert [(fold.first.id, len(fold.others)) for fold in folds] == [
        (LOST.id, 1), ("lost-0003", 0), ("lost-0004", 0), ("lost-0005", 1),
    ]  # fmt: skip
    text = terminal.rendered(msgspec.structs.replace(QUIET, findings=(LOST, other)))
    assert "  also       lost-0002: the disk is full" in text
    assert text.count("  advice ") == 1


def test_the_simplest_fault_tells_the_story() -> None:
    power, full = (msgspec.structs.replace(LOST, id=kind, kind=kind, trials=40, plan={}) for kind in ("power", "disk"))
    assert [one.id for one in ordered((power, full, LOST))] == [LOST.id, "disk", "power"]


def test_notes_that_say_the_same_are_one() -> None:
    notes = [
        msgspec.structs.replace(POLICY, id=f"lost-000{n}", fault=f"power cut {n}", paths=("$CWD/a",)) for n in (1, 2)
    ]
    text = terminal.rendered(msgspec.structs.replace(QUIET, findings=tuple(notes)))
    assert "power cut 1 (and 1 alike)" in text and "power cut 2" not in text


def test_a_finding_in_one_line_is_harmless() -> None:
    line = terminal.one_line(msgspec.structs.replace(LOST, fault="\x1b[2J\nkill"))
    assert line == r"critical: lost ($CWD/notes.json) by \x1b[2J\nkill"
