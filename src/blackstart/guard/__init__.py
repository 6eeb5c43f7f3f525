"""What a run may touch: the doors, and a ledger of what it changes outside its sandbox."""

from blackstart.guard.doors import Allowed, Door, doors, opened_paths, parse_allowed
from blackstart.guard.ledger import LEDGER, Ledger, Undone, undo

__all__ = ["LEDGER", "Allowed", "Door", "Ledger", "Undone", "doors", "opened_paths", "parse_allowed", "undo"]
