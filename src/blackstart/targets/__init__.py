"""How a target is started, reached and stopped. Knows no faults."""

from blackstart.targets.command import Command, Conducted, conduct
from blackstart.targets.watch import Diagnosis, Look, Patience, ThreadWait, look

__all__ = ["Command", "Conducted", "Diagnosis", "Look", "Patience", "ThreadWait", "conduct", "look"]
