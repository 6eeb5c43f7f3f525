"""Faults inside this Python process: lines, calls, objects, files, databases. Each is undone at its end.

    with armed("cas-put-before-write", "@2 raise(OSError: EIO)") as point: ...
    with armed_call("shop.db.put", "@3 raise(OSError: ENOSPC)"): ...
    store = Faulty(store, {"get": "raise(OSError: EIO)"})

Imports of the parts are theirs alone: a program that calls `failpoint` loads no more than it needs.
"""

from blackstart.inprocess.arming import active, armed, disarm_everything
from blackstart.inprocess.calls import armed_call
from blackstart.inprocess.errors import AlreadyArmed, NeverFired, NotArmable, UnknownFailpoint
from blackstart.inprocess.faulty import Faulty
from blackstart.inprocess.function import failpoint
from blackstart.inprocess.point import Point
from blackstart.inprocess.sites import Site, places_of, sites_below
from blackstart.inprocess.sweeping import Step, storm, sweep

__all__ = [
    "AlreadyArmed",
    "Faulty",
    "NeverFired",
    "NotArmable",
    "Point",
    "Site",
    "Step",
    "UnknownFailpoint",
    "active",
    "armed",
    "armed_call",
    "disarm_everything",
    "failpoint",
    "places_of",
    "sites_below",
    "storm",
    "sweep",
]
