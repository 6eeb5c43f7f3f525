"""What can be broken: one kind a file, each a value and the mechanism that it calls.

To add a kind: one file with a frozen value and `candidates`, its test, and one row of KINDS below.
"""

from collections.abc import Iterator

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.faults import (
    clients,
    db,
    disk,
    dns,
    errno,
    failing_sync,
    file,
    kill,
    kill_one,
    limit,
    link,
    peer,
    power,
    scarce,
    second_cut,
    signals,
    time,
)
from blackstart.faults.scene import Candidate, Fault, Scene


def _power(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Cuts of the recorded run; after a sync that failed; and in the recovery from the first."""
    yield from power.candidates(clean, calibration)
    if clean.recording is not None:
        yield from failing_sync.candidates(clean, calibration, clean.recording.models)
        yield from second_cut.candidates(clean, clean.recording.models)


def _limit(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Of each process, and of all together."""
    yield from limit.candidates(clean, calibration)
    yield from scarce.candidates(clean, calibration)


KINDS = {
    "kill": kill.candidates,
    "signal": signals.candidates,
    "errno": errno.candidates,
    "file": file.candidates,
    "db": db.candidates,
    "power": _power,
    "disk": disk.candidates,
    "limit": _limit,
    "kill-one": kill_one.candidates,
    "time": time.candidates,
    "link": link.candidates,
    "peer": peer.candidates,
    "dns": dns.candidates,
    "clients": clients.candidates,
}

# Every fault value, for reading plans back.
AnyFault = (
    kill.Kill
    | errno.Errno
    | file.Damage
    | db.Break
    | power.PowerCut
    | failing_sync.FailingSync
    | second_cut.SecondCut
    | disk.Full
    | limit.Limit
    | scarce.Scarce
    | kill_one.KillOne
    | time.Jump
    | time.Uptime
    | signals.Signal
    | link.Link
    | peer.Peer
    | dns.Dns
    | clients.Clients
)

__all__ = ["KINDS", "AnyFault", "Candidate", "Fault", "Scene"]
