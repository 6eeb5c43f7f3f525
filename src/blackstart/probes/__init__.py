"""Questions put to what a program left: they read, and never judge or change anything."""

from blackstart.probes.content import read
from blackstart.probes.image import Prober

__all__ = ["Prober", "read"]
