"""What got out of the target: how many output events, and what they acknowledged."""

from __future__ import annotations

from blackstart.core.history import Run
from blackstart.oracles.view import View


def events_out(view: View, run: Run) -> int:
    """How many output events of the clean run got out in this run: whole lines that agree from the beginning."""
    if view.clean is None or "stdout" in view.calibration.mask.hopeless:
        return 0
    count = 0
    written = view.text(run, "stdout").split("\n")[:-1]
    for seen, expected in zip(written, view.clean.stdout.split("\n")[:-1], strict=False):
        if seen != expected:
            break
        count += 1
    return count


def reached(view: View) -> dict[str, int]:
    """Per masked path the version that the last output event of the first run acknowledged."""
    if view.clean is None or view.first is None:
        return {}
    events = events_out(view, view.first)
    known = view.clean.acknowledgements
    if not events or len(known) != view.clean.stdout.count("\n"):
        return {}  # the recording did not count lines as the run did: nothing can be said
    return known[events - 1].versions
