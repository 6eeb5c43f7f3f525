"""Power cuts: from one recorded run, the disks that a power loss could have left under named file systems.

    tape = Tape(start, roots, spill)            # fed with every operation of a clean run
    recording = tape.finish(...)
    for state in crash_states(recording, MODELS["ext4"]):
        build(recording, state, directory)

Pure but for the files of the recording itself: nothing here starts a program or knows one.
"""

from blackstart.power.builder import Builder
from blackstart.power.image import Contents
from blackstart.power.micro import CLOSE, CUT, DATA, GROW, LINK, OUTPUT, SYNC, UNLINK, Micro
from blackstart.power.models import MODELS, Model, Order, model
from blackstart.power.recording import WORKLOAD, Event, Failing, Recording, Tape
from blackstart.power.spill import Spill
from blackstart.power.states import Explorer, State, crash_states
from blackstart.power.tree import StartEntry, look, scan

__all__ = [
    "CLOSE",
    "CUT",
    "DATA",
    "GROW",
    "LINK",
    "MODELS",
    "OUTPUT",
    "SYNC",
    "UNLINK",
    "WORKLOAD",
    "Builder",
    "Contents",
    "Event",
    "Explorer",
    "Failing",
    "Micro",
    "Model",
    "Order",
    "Recording",
    "Spill",
    "StartEntry",
    "State",
    "Tape",
    "crash_states",
    "look",
    "model",
    "scan",
]
