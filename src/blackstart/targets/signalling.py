"""Signals to the target's main process: those that go with what the gate does, and those whose moment comes later."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterable, Mapping

# Between two signals of one fault: both within a second.
AGAIN_S = 0.3


class Signals:
    """sent: what was sent while the process was there.

    planned: by the index of a tamper, what its first firing sends; now_s: seconds since the start.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        # A descriptor, since the number of a process that has ended may already be another's.
        self._process = -1
        self.planned: dict[int, tuple[int, ...]] = {}
        self.sent: list[int] = []
        self._now_s = now_s
        self._due: list[tuple[float, int]] = []

    def open(self, pid: int) -> None:
        """Who gets them: the main process of this start."""
        with contextlib.suppress(ProcessLookupError):
            self._process = os.pidfd_open(pid)

    def close(self) -> None:
        """Nobody gets any more."""
        if self._process >= 0:
            os.close(self._process)
            self._process = -1

    def plan(self, planned: Mapping[int, tuple[int, ...]]) -> None:
        """What firings are to send."""
        self.planned = dict(planned)

    def after(self, fired: Iterable[int]) -> None:
        """Send what goes with the tampers that have fired."""
        for index in set(fired) & self.planned.keys():
            for order, number in enumerate(self.planned.pop(index)):
                self.later(order * AGAIN_S, number)
        self.send_due()

    def later(self, wait_s: float, number: int) -> None:
        """Send this one after so long."""
        self._due.append((self._now_s() + wait_s, number))

    def send_due(self) -> None:
        """Send those whose moment has come."""
        now_s = self._now_s()
        for due in [one for one in self._due if one[0] <= now_s]:
            self._due.remove(due)
            if self._process >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._process, due[1])
                    self.sent.append(due[1])

    @property
    def wait_s(self) -> float:
        """How long until the next one is due."""
        return max(0.0, min((due_s for due_s, _ in self._due), default=math.inf) - self._now_s())
