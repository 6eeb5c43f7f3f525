"""Hosts and links in network namespaces, and chaos on them by name, without root; see `Lab` and `NetworkChaos`."""

from blackstart.lab.chaos import SHAPES, Applied, NetworkChaos
from blackstart.lab.impairment import Burst, Impairment, LabError
from blackstart.lab.joint import Joined
from blackstart.lab.lab import ALL, Host, Interface, Lab, LabUnavailable
from blackstart.lab.process import Process
from blackstart.lab.profiles import PROFILES, netem, profile

__all__ = [
    "ALL",
    "PROFILES",
    "SHAPES",
    "Applied",
    "Burst",
    "Host",
    "Impairment",
    "Interface",
    "Joined",
    "Lab",
    "LabError",
    "LabUnavailable",
    "NetworkChaos",
    "Process",
    "netem",
    "profile",
]
