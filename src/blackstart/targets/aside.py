"""A program beside the target in its sandbox: what uses it, what asks it, what it needs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from blackstart.sandbox import Sandbox
from blackstart.targets.command import Command, Pipes


class Aside:
    """One start of such a program: its number, its process, its outputs.

    stdin: what it reads, -1 for nothing; apart: it lives in the sandbox's second network.
    """

    def __init__(
        self, sandbox: Sandbox, command: Command, now_s: Callable[[], float], stdin: int = -1, *, apart: bool = False
    ) -> None:
        self.pipes = Pipes(now_s)
        source = stdin if stdin >= 0 else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            started = sandbox.start(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=source,
                stdout=self.pipes.write_ends[0],
                stderr=self.pipes.write_ends[1],
                beside=True,
                apart=apart,
            )
            self.pipes.started()
        except BaseException:
            self.pipes.close()
            raise
        finally:
            if stdin < 0:
                os.close(source)
        self.number, self.pid = started.number, started.pid

    def kill(self) -> None:
        """End its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give its pipes back."""
        self.pipes.close()
