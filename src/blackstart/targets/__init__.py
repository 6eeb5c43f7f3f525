"""How a target is started, reached and stopped. Knows no faults."""

from blackstart.targets.command import Command, Conducted, conduct
from blackstart.targets.duty import Duty, Service
from blackstart.targets.look import Look, ThreadWait, look
from blackstart.targets.readiness import parse_ready
from blackstart.targets.service import serve
from blackstart.targets.watch import Diagnosis, Patience

__all__ = [
    "Command",
    "Conducted",
    "Diagnosis",
    "Duty",
    "Look",
    "Patience",
    "Service",
    "ThreadWait",
    "conduct",
    "look",
    "parse_ready",
    "serve",
]
