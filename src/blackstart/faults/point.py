"""Points of failure: which of the many operations of a clean run are worth a trial.

Operations that share call, path and context (the innermost function of the target) are one group, and a group is
tried at its first, its last and one in the middle. What a service does to get ready, and what it does for its users
then, are groups of their own. The n-th is counted per (call, path), never globally, so that a
run that does a little more elsewhere does not shift it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from blackstart.core.calibration import CleanRun
from blackstart.core.rule import Rule, parse
from blackstart.core.trace import Operation
from blackstart.gate import Match, Tamper

# Roles whose files are worth breaking: all but the program's installation. More than the roles that are judged, as what
# a fault on a log or a lock does shows elsewhere.
TRIED_ROLES = frozenset(("state", "output", "cache", "config", "lock", "scratch", "log"))


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The n-th call on a masked path, as planned; operation is what stood there in the clean run."""

    call: str
    path: str
    nth: int
    operation: Operation | None = None

    def tamper(self, rule: str | Rule) -> Tamper:
        """The order to the gate: this rule at this place."""
        parsed = parse(rule) if isinstance(rule, str) else rule
        return Tamper(match=Match(call=self.call, path=self.path, exact=True), rule=parsed, planned=self.operation)

    def __str__(self) -> str:
        return f"{self.call} {self.path} @{self.nth}"


def slim(operation: Operation) -> Operation:
    """The operation without what may legally differ in the next run: its data and its moment."""
    return msgspec.structs.replace(operation, data=b"", at_s=0.0)


def point_of(operation: Operation) -> Point:
    """Where this operation of a clean run is."""
    return Point(call=operation.call, path=operation.masked, nth=operation.nth, operation=slim(operation))


def repeated(clean: CleanRun, operations: Iterable[Operation]) -> Iterator[Operation]:
    """Those that a restart does again: a job's all, a service's until it is ready."""
    return (o for o in operations if clean.life is None or o.at_s < clean.life.ready_s)


def unplanned(point: Point) -> Point:
    """The point without the operation of the clean run: a recovery need not repeat that one exactly."""
    return Point(call=point.call, path=point.path, nth=point.nth)


def spread(operations: Iterable[Operation], clean: CleanRun | None = None) -> list[tuple[Point, int]]:
    """(point, how many it stands for) for each group: the first, the last, one in the middle.

    clean: whose operations these are. What a service does for its users comes before what it does to get ready: one
    that cannot start ends with a message, as a rule, and nothing has been acknowledged yet.
    """
    ready_s = clean.life.ready_s if clean is not None and clean.life is not None else -1.0
    groups: dict[tuple[str, str, str, bool], list[Operation]] = {}
    for operation in operations:
        context = operation.site[0].rpartition(":")[0] if operation.site else ""
        is_early = operation.at_s < ready_s
        groups.setdefault((operation.call, operation.masked, context, is_early), []).append(operation)
    chosen: list[tuple[int, bool, Point, int]] = []
    for (_, _, _, is_early), members in groups.items():
        picked = sorted({0, len(members) // 2, len(members) - 1})
        for order, index in enumerate(picked):
            member = members[index]
            stands_for = len(members) - len(picked) + 1 if order == 0 else 1
            chosen.append((order, is_early, point_of(member), stands_for))
    if ready_s >= 0:
        chosen.sort(key=lambda one: one[:2])
    return [(point, stands_for) for _, _, point, stands_for in chosen]
