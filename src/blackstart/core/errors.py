"""The operator's mistakes.

Three kinds of trouble are never mixed: the operator's mistake is a `BlackstartError` with what, where and
the next step; our own bug is an `AssertionError`; the injected fault is the program's own exception.
"""

from __future__ import annotations


class BlackstartError(Exception):
    """The operator asked for something that cannot be done.

    what: one sentence; where: the place it is about (a path, an option, a line; may be empty);
    next_step: what to do now; exit_status: 2 for wrong usage, 3 where the run stays undecided.
    """

    exit_status = 2

    def __init__(self, what: str, *, where: str = "", next_step: str = "", exit_status: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step
        if exit_status is not None:
            self.exit_status = exit_status

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses have constructors of their own; an error must cross from a worker process as it is.
        return _revived, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next_step:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)


def _revived(kind: type[BlackstartError], args: tuple[object, ...], state: dict[str, object]) -> BlackstartError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TargetError(BlackstartError):
    """The target cannot be started or its clean run does not work."""


class Undecided(BlackstartError):
    """No judgement is possible: the control run failed, or the budget is too small to calibrate."""

    exit_status = 3


class SandboxUnavailable(BlackstartError):
    """This machine refuses what the sandbox needs; the message names the missing permission."""

    exit_status = 3


class SandboxLimit(BlackstartError):
    """The sandbox cannot hold what the target touched (no space, too large a state); the trial is unknown."""

    exit_status = 3
