"""What signals are called: `SIGTERM`; those for real-time programs have no names of their own."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """`SIGSEGV`, or `signal 40` for one without a name, of which any program may die too."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
