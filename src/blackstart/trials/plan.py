"""What a trial will do, as JSON, written down before it runs: from it alone the trial can be done again."""

from __future__ import annotations

import json

import msgspec

from blackstart.core.history import History
from blackstart.faults import AnyFault
from blackstart.targets import Patience


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One trial: its kind (`null` for none), the image that it starts from, its faults, how long each start may take.

    rerun: whether the target is started again afterwards; late_s: how long a target that refuses to start is given for
    what is in its way to expire; seed: of every draw in this trial; stacks: whether to read where exactly the program
    is when a fault acts, which takes 10-150 ms (for findings); rounds: how often the same is done again afterwards,
    with the faults and without; measures: whether a service is used once more when all is well again, to see how it
    then answers; insists: whether, of a service that answered nobody any more, the workload is run again after healing,
    to see whether it answers then; traces: whether the trial is only to tell which handlers a Python program enters.
    """

    kind: str
    start: str
    faults: tuple[AnyFault, ...] = ()
    patience: Patience = Patience()
    rerun: bool = True
    late_s: float = 0.0
    seed: int = 0
    stacks: bool = False
    rounds: int = 0
    measures: bool = False
    insists: bool = False
    traces: bool = False

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults)) or "no fault"


def encode(value: Plan | History) -> bytes:
    """A plan or a history as JSON in ASCII: bytes of names that are no UTF-8 stay lone surrogates, escaped."""
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()


def decode(data: bytes) -> Plan:
    """The plan from JSON; raises msgspec.ValidationError naming the path."""
    return msgspec.convert(json.loads(data), Plan)
