"""Where a trial runs: namespaces, copies of the state, overlays for the rest, and one order that kills everything.

layout = Layout.of(cwd="/home/me/app", home="/home/me", copies=["/home/me/app/state"])
with Zygote(layout) as zygote:
    zygote.capture("S0")                            # the host's state, as it is now
    zygote.copy("S0", "trial-1")
    with zygote.sandbox("trial-1") as sandbox:
        started = sandbox.start(["./app"], env={}, stdin=null, stdout=pipe, stderr=pipe)
        ended = sandbox.event(timeout_s=5)          # or poll sandbox.fileno()
        sandbox.kill()                              # the whole tree; the namespaces stay
        sandbox.advance_pids(500)
        sandbox.start(["./app"], env={}, stdin=null, stdout=pipe, stderr=pipe)      # the restart
    for entry in zygote.walk("trial-1"): ...        # the state that it left
"""

from blackstart.sandbox.crossing import crossings
from blackstart.sandbox.groups import Group
from blackstart.sandbox.launcher import CONTROL_DESCRIPTOR
from blackstart.sandbox.layout import Captured, Change, Ended, Entry, Layout, ProcessInfo, Started
from blackstart.sandbox.machine import Ability, Machine, choose, probe
from blackstart.sandbox.sandbox import Joint, Resident, Sandbox
from blackstart.sandbox.zygote import Zygote

__all__ = [
    "Ability",
    "Machine",
    "choose",
    "crossings",
    "probe",
    "CONTROL_DESCRIPTOR",
    "Captured",
    "Change",
    "Ended",
    "Entry",
    "Group",
    "Joint",
    "Layout",
    "ProcessInfo",
    "Resident",
    "Sandbox",
    "Started",
    "Zygote",
]
