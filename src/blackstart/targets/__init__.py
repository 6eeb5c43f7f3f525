"""How a target is started, reached and stopped. Knows no faults."""

from blackstart.targets.command import Command, Conducted, conduct
from blackstart.targets.look import Look, ThreadWait, look
from blackstart.targets.watch import Diagnosis, Patience

__all__ = ["Command", "Conducted", "Diagnosis", "Look", "Patience", "ThreadWait", "conduct", "look"]
