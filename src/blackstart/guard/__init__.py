"""What a run may touch: the doors, and a ledger of what it changes outside its sandbox."""

from blackstart.guard.doors import Allowed, Door, doors, parse_allowed
from blackstart.guard.ledger import Ledger, Undone, undo

__all__ = ["Allowed", "Door", "Ledger", "Undone", "doors", "parse_allowed", "undo"]
