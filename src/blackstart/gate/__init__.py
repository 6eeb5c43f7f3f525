"""The system-call interposer: a seccomp filter, a supervisor outside, and strace as the second opinion."""

from blackstart.gate import strace
from blackstart.gate.calls import BOOKKEEPING, DEFAULT, GROWING, OF_FILES, closure, expand
from blackstart.gate.errnos import plausible, possible
from blackstart.gate.launcher import Launched, launch
from blackstart.gate.places import stream_names
from blackstart.gate.supervisor import Recorder, Supervisor
from blackstart.gate.tampering import (
    HERE,
    Caller,
    Firing,
    Match,
    Tamper,
    context_of,
    disk_full,
    matching,
    read_only,
    refuse,
)
from blackstart.gate.wallclock import WallClock

__all__ = [
    "BOOKKEEPING",
    "DEFAULT",
    "GROWING",
    "HERE",
    "OF_FILES",
    "Caller",
    "Firing",
    "Launched",
    "Match",
    "Recorder",
    "Supervisor",
    "Tamper",
    "WallClock",
    "closure",
    "context_of",
    "disk_full",
    "expand",
    "launch",
    "matching",
    "plausible",
    "possible",
    "read_only",
    "refuse",
    "strace",
    "stream_names",
]
