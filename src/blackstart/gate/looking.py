"""What a match may ask about a call that waits: where in the program it is made, what stands at its path."""

from __future__ import annotations

import os

from blackstart.core.trace import Operation
from blackstart.gate import notify
from blackstart.gate.callsite import Sites
from blackstart.gate.tasks import Thread


class Look:
    """site(): its frames; exists(): whether something stands at its path now."""

    __slots__ = ("_sites", "_thread", "_operation")

    def __init__(self, sites: Sites, thread: Thread, operation: Operation) -> None:
        self._sites, self._thread, self._operation = sites, thread, operation

    def site(self) -> tuple[str, ...]:
        return self._sites.frames(self._thread)

    def exists(self) -> bool:
        try:
            root = os.open(f"/proc/{self._thread.tid}/root", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.close(notify.open_beneath(root, self._operation.path, os.O_PATH))
        except (OSError, ValueError):
            return False
        finally:
            os.close(root)
        return True
