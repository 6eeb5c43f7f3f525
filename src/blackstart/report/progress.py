"""What a campaign tells while it works. It never draws: it tells, and the one who listens decides how it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from blackstart.report.model import Report


class Progress(Protocol):
    """The listener of a campaign; called from one thread, each call returns at once.

    opened(report): surface and doors are known, the rest of the report is empty as yet: the first lines of a run;
    phase(name): what is being done now ("scouting", "calibrating", "breaking", "reproducing");
    planned(n): how many trials this phase is going to do, told again when it changes;
    done(outcome): one of them ended, with passed, failed, unknown or not fired;
    finding(line), note(text): one sentence each; clear(): take back what would be redrawn, others are going to write.
    """

    def opened(self, report: Report) -> None: ...
    def phase(self, name: str) -> None: ...
    def planned(self, count: int) -> None: ...
    def done(self, outcome: str) -> None: ...
    def finding(self, line: str) -> None: ...
    def note(self, text: str) -> None: ...
    def clear(self) -> None: ...


class SilentProgress:
    """Nobody listens; the reference implementation."""

    def opened(self, report: Report) -> None:
        """Surface and doors are known."""

    def phase(self, name: str) -> None:
        """Another part of the work begins."""

    def planned(self, count: int) -> None:
        """This many trials are to be done."""

    def done(self, outcome: str) -> None:
        """One trial ended."""

    def finding(self, line: str) -> None:
        """A finding was confirmed."""

    def note(self, text: str) -> None:
        """Something worth a sentence."""

    def clear(self) -> None:
        """Others are going to write."""
