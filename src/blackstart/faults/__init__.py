"""What can be broken: one kind a file, each a value and the mechanism that it calls.

To add a kind: one file with a frozen value and `candidates`, its test, and one row of KINDS below.
"""

from blackstart.faults import db, errno, file, kill, power
from blackstart.faults.scene import Candidate, Fault, Scene

KINDS = {
    "kill": kill.candidates,
    "errno": errno.candidates,
    "file": file.candidates,
    "db": db.candidates,
    "power": power.candidates,
}

# Every fault value, for reading plans back.
AnyFault = kill.Kill | errno.Errno | file.Damage | db.Break | power.PowerCut

__all__ = ["KINDS", "AnyFault", "Candidate", "Fault", "Scene"]
