"""Why something could not be armed, or was armed for nothing. All are mistakes of the test, never of the program."""

from __future__ import annotations

from blackstart.core.errors import BlackstartError


class UnknownFailpoint(BlackstartError):
    """No source line of a loaded module carries this name; the message offers the nearest one."""


class NotArmable(BlackstartError):
    """What is there cannot be changed or broken; the message says why, and what else would do."""


class AlreadyArmed(BlackstartError):
    """Somebody else has armed this place. Two rules for the whole process would count each other's hits."""


class NeverFired(BlackstartError):
    """A rule that could fire did not, so the test proved nothing. Pass may_miss=True where that is meant."""
