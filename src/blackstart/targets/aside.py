"""A program beside the target in its sandbox: what uses it, what asks it, what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable

from blackstart.sandbox import Sandbox
from blackstart.targets.command import Command
from blackstart.targets.pipes import Pipes


class Aside:
    """One start of such a program: its number and its outputs.

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
        self._sandbox, self.number = sandbox, started.number

    def kill(self) -> None:
        """End what is left of it."""
        self._sandbox.kill_beside(self.number)

    def close(self) -> None:
        """Give its pipes back."""
        self.pipes.close()
