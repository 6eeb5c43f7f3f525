"""Progress: redrawn on a terminal, plain lines elsewhere, never by a thread."""

from __future__ import annotations

import io
import threading

import pytest

from blackstart.core.clock import ManualClock
from blackstart.report import terminal
from blackstart.report.live import Pace, PlainProgress, TerminalProgress, progress_for
from blackstart.report.progress import Progress, SilentProgress
from tests.unit.report.samples import FULL


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(progress: Progress, clock: ManualClock) -> None:
    """What a campaign tells, over a minute."""
    progress.phase("calibrating")
    clock.sleep(3.0)
    progress.opened(FULL)
    progress.phase("breaking")
    progress.planned(60)
    for number in range(60):
        clock.sleep(1.0)
        progress.done("passed")
        if number == 20:
            progress.finding("lost: \x1b[2J $CWD/notes.json")
    progress.note("the budget was spent")
    progress.clear()


def test_plain_lines_tell_each_phase_and_how_far_it_is() -> None:
    clock, out, status = ManualClock(), io.StringIO(), io.StringIO()
    work(PlainProgress(terminal.console(out), terminal.console(status), clock), clock)
    lines = status.getvalue().splitlines()
    assert lines[:3] == ["- calibrating", "- breaking", "- breaking: 10 of 60, 1.0/s, 50s left"]
    assert r"! lost: \x1b[2J $CWD/notes.json" in lines
    assert "- breaking: 40 of 60, 1.0/s, 20s left, 1 finding" in lines
    assert lines[-1] == "- the budget was spent" and len(lines) == 10
    assert out.getvalue().startswith("  Target") and "\x1b" not in status.getvalue() + out.getvalue()


def test_a_sentence_is_one_line_in_a_log_however_long() -> None:
    status = io.StringIO()
    PlainProgress(terminal.console(io.StringIO()), terminal.console(status), ManualClock()).finding("long " * 40)
    assert len(status.getvalue().splitlines()) == 1


def test_on_a_terminal_one_line_is_redrawn_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    clock, file = ManualClock(), Terminal()
    console = terminal.console(file, width=80)
    before = threading.active_count()
    progress = progress_for(console, console, clock)
    assert isinstance(progress, TerminalProgress)
    work(progress, clock)
    assert threading.active_count() == before
    text = file.getvalue()
    assert "██████" in text and "30 of 60, 1.0/s, 30s left, 1 finding" in text
    assert text.endswith("\r\x1b[2K") and "\x1b[?25l" not in text
    drawn = [part.rsplit("\n", 1)[-1] for part in text.split("\r\x1b[2K")]
    assert all(len(part.replace("\x1b[0m", "")) < 80 for part in drawn)


def test_it_is_redrawn_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock, file = ManualClock(), Terminal()
    console = terminal.console(file, width=60)
    progress = TerminalProgress(console, console, clock)
    progress.phase("breaking")
    progress.planned(10_000)
    for _ in range(10_000):
        clock.sleep(0.001)
        progress.done("passed")
    assert 90 <= file.getvalue().count("\x1b[2K") <= 110


def test_plain_is_chosen_where_nothing_can_be_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for file in (io.StringIO(), Terminal()):
        console = terminal.console(file)
        assert isinstance(progress_for(console, console), PlainProgress)


def test_a_pace_without_time_or_plan_promises_nothing() -> None:
    pace = Pace(ManualClock())
    pace.begin("scouting")
    assert pace.text() == "scouting"
    pace.done = 3
    assert pace.text() == "scouting: 3 done"


def test_nobody_has_to_listen() -> None:
    work(SilentProgress(), ManualClock())
