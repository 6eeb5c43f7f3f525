"""What a trial will do, as JSON, written down before it runs: from it alone the trial can be done again."""

from __future__ import annotations

import msgspec

from blackstart.faults import AnyFault
from blackstart.targets import Patience


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One trial: its kind (`null` for none), the image that it starts from, its faults, how long each start may take.

    rerun: whether the target is started again afterwards; seed: of every draw in this trial.
    """

    kind: str
    start: str
    faults: tuple[AnyFault, ...] = ()
    patience: Patience = Patience()
    rerun: bool = True
    seed: int = 0

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults)) or "no fault"


def encode(plan: Plan) -> bytes:
    """The plan as JSON."""
    return msgspec.json.encode(plan)


def decode(data: bytes) -> Plan:
    """The plan from JSON; raises msgspec.ValidationError naming the path."""
    return msgspec.json.decode(data, type=Plan)
