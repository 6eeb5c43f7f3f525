"""Progress as it is seen: one line that is redrawn on a terminal, plain lines elsewhere.

No thread draws: a sandbox can only be made by a process with one thread. The line is redrawn when something is told,
at most ten times a second, and the cursor stays visible, so that our own SIGKILL leaves the terminal as it was.
"""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.units import format_duration, plural
from blackstart.report.model import Report
from blackstart.report.progress import Progress
from blackstart.report.terminal import show_opening
from blackstart.report.text import plain

_BAR = 20
_REDRAW_S = 0.1
_PLAIN_EVERY_S = 10.0


class Pace:
    """How far a phase is: done, planned, per second, seconds left."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.name = ""
        self.outcomes: dict[str, int] = {}
        self.findings = 0
        self.begin("")

    def begin(self, name: str) -> None:
        """A new phase; findings are counted over all of them."""
        self.name = name
        self.done = self.planned = 0
        self._began_s = self._clock.monotonic()

    @property
    def rate(self) -> float:
        """Done per second; 0 while nothing is."""
        elapsed = self._clock.monotonic() - self._began_s
        return self.done / elapsed if elapsed > 0 else 0.0

    def text(self) -> str:
        """`breaking: 30 of 120, 4.1/s, 22s left, 1 finding`."""
        parts = []
        if self.planned:
            parts.append(f"{self.done} of {self.planned}")
        elif self.done:
            parts.append(f"{self.done} done")
        if self.done and self.rate:
            parts.append(f"{self.rate:.1f}/s")
            if self.planned > self.done:
                parts.append(f"{format_duration(round((self.planned - self.done) / self.rate))} left")
        if self.findings:
            parts.append(plural(self.findings, "finding"))
        return f"{self.name}: {', '.join(parts)}" if parts else self.name


class _Listener:
    """What both kinds share: the opening goes to `out`, all else to `status`."""

    def __init__(self, out: Console, status: Console, clock: Clock = SYSTEM) -> None:
        self.out = out
        self.status = status
        self.pace = Pace(clock)
        self.clock = clock

    def opened(self, report: Report) -> None:
        """Show surface and doors."""
        self.clear()
        show_opening(self.out, report)
        self.out.file.flush()

    def finding(self, line: str) -> None:
        """Show it at once."""
        self.pace.findings += 1
        self._say(f"! {line}", "bold red")

    def note(self, text: str) -> None:
        """Show it at once."""
        self._say(f"- {text}", "")

    def clear(self) -> None:
        """Take back what will be redrawn."""

    def _say(self, line: str, style: str) -> None:
        self.clear()
        # A run does not end because nobody can read how far it is; the report is another matter.
        with suppress(*() if self.status is self.out else (OSError,)):
            # In a log a sentence is one line, so that it can be searched for.
            self.status.print(Text(plain(line), style=style), soft_wrap=not self.status.is_terminal)
            self.status.file.flush()


class TerminalProgress(_Listener):
    """One line with a bar, redrawn in place."""

    def __init__(self, out: Console, status: Console, clock: Clock = SYSTEM) -> None:
        super().__init__(out, status, clock)
        self._drawn_s = float("-inf")
        self._visible = False

    def phase(self, name: str) -> None:
        """Another part of the work begins."""
        self.pace.begin(name)
        self._draw(now=True)

    def planned(self, count: int) -> None:
        """This many trials are to be done."""
        self.pace.planned = count
        self._draw(now=True)

    def done(self, outcome: str) -> None:
        """One trial ended."""
        self.pace.done += 1
        self._draw()

    def clear(self) -> None:
        """Take the line back."""
        if self._visible:
            self.status.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            self._visible = False

    def _say(self, line: str, style: str) -> None:
        super()._say(line, style)
        self._draw(now=True)

    def _draw(self, *, now: bool = False) -> None:
        if not now and self.clock.monotonic() - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = self.clock.monotonic()
        self.clear()
        text = Text(self._bar() + plain(self.pace.text()), style="cyan")
        # One column stays free: a full line would wrap on some terminals and could not be taken back.
        text.truncate(self.status.width - 1, overflow="ellipsis")
        self.status.print(text, end="", soft_wrap=True)
        self.status.file.flush()
        self._visible = True

    def _bar(self) -> str:
        if not self.pace.planned:
            return ""
        full = min(_BAR, _BAR * self.pace.done // self.pace.planned)
        return "█" * full + "░" * (_BAR - full) + " "


class PlainProgress(_Listener):
    """Lines for a log: each phase, and every ten seconds how far it is."""

    def __init__(self, out: Console, status: Console, clock: Clock = SYSTEM) -> None:
        super().__init__(out, status, clock)
        self._said_s = clock.monotonic()

    def phase(self, name: str) -> None:
        """Another part of the work begins."""
        self._end_phase()
        self.pace.begin(name)
        self._said_s = self.clock.monotonic()
        self._say(f"- {name}", "")

    def planned(self, count: int) -> None:
        """This many trials are to be done."""
        self.pace.planned = count

    def done(self, outcome: str) -> None:
        """One trial ended."""
        self.pace.done += 1
        if self.clock.monotonic() - self._said_s >= _PLAIN_EVERY_S:
            self._said_s = self.clock.monotonic()
            self._say(f"- {self.pace.text()}", "")

    def _end_phase(self) -> None:
        if self.pace.done:
            self._say(f"- {self.pace.text()}", "")


def progress_for(out: Console, status: Console, clock: Clock = SYSTEM) -> Progress:
    """The kind that fits: redrawn where the status goes to a terminal that can, else plain lines."""
    redrawn = status.is_terminal and not status.is_dumb_terminal
    return TerminalProgress(out, status, clock) if redrawn else PlainProgress(out, status, clock)
