"""Which line of the target makes a call."""

from __future__ import annotations

from blackstart.gate.tasks import Thread


class Sites:
    """Call sites of the target's threads."""

    def frames(self, thread: Thread) -> tuple[str, ...]:
        """Frames `file:function:line` of an interpreted program, innermost first; () if unknown."""
        return ()

    def forget(self, pid: int) -> None:
        """The process becomes another program."""
