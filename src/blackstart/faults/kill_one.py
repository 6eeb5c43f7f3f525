"""Kind `kill-one`: one process of the target gets SIGKILL and the others live on.

It is what the out-of-memory killer does, and what a crash of one worker looks like to its parent. The victim is the
child that is about to do the chosen operation; the process that was started first is never killed: that is kind `kill`.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.rule import parse
from blackstart.core.trace import PIPE, SOCKET, Operation
from blackstart.faults.kill import crash_before
from blackstart.faults.point import TRIED_ROLES, Point, spread, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, Scene, during, fired_in_gate
from blackstart.gate import HERE, Caller, Match, Tamper
from blackstart.targets import Conducted

_EXECUTES = ("execve", "execveat")
DEATH_S = 5


class KillOne(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="kill-one", tag_field="fault"):
    """SIGKILL to the child that is at this point; role says which one that was in the clean run."""

    kind: ClassVar[str] = "kill-one"
    point: Point
    role: str
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """A kill is over when it is done."""
        return False

    def __str__(self) -> str:
        return f"kill {self.role} alone before {self.point}{during(self.phase)}"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        first: list[int] = []

        def remember(caller: Caller) -> tuple[bool, str]:
            first.append(caller.process)
            return True, ""

        def kill(caller: Caller) -> tuple[bool, str]:
            if caller.process in first:
                return False, "the process that was started first came there, not a child"
            return _killed(caller.process)

        orders = [
            msgspec.structs.replace(self.point.tamper(f"@{self.point.nth} {HERE}"), act=kill),
            Tamper(match=Match(call="|".join(_EXECUTES)), rule=parse(f"@1 {HERE}"), act=remember),
        ]
        with scene.armed(*orders):
            yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        return fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each child of the run before its changes, before it first answers its parent, and before its end."""
    for role, operations in _by_role(clean).items():
        for point, places in spread(_worth(operations, calibration)):
            yield Candidate(
                fault=KillOne(point=point, role=role),
                start=clean.start,
                rank=(2 if point.call == "exit_group" else 1, 4),
                cause=("kill-one", role, point.call),
                path=point.path,
                places=places,
            )
            crash = crash_before(point.path, clean)
            if crash is not None and point.nth == 1:
                yield Candidate(
                    fault=KillOne(point=unplanned(point), role=role, phase=RESTART),
                    crash=crash,
                    start=clean.start,
                    rank=(8, 4),
                    cause=("kill-one during recovery", role),
                    path=point.path,
                )


def _by_role(clean: CleanRun) -> dict[str, list[Operation]]:
    """What the children did, by role: the program that a child became, else whose copy it is."""
    if not clean.trace:
        return {}
    first = clean.trace[0].process
    programs: dict[int, str] = {}
    found: dict[str, list[Operation]] = {}
    for operation in clean.trace:
        if operation.call in _EXECUTES:
            programs[operation.process] = os.path.basename(operation.masked)
        if operation.process != first:
            role = programs.get(operation.process) or f"a child of {programs.get(first, 'the first process')}"
            found.setdefault(role, []).append(operation)
    return found


def _worth(operations: list[Operation], calibration: Calibration) -> Iterator[Operation]:
    answered: set[int] = set()
    ended = False
    for operation in operations:
        judged = operation.changes and calibration.roles.get(operation.masked, "") in TRIED_ROLES
        answers = operation.kind in (PIPE, SOCKET) and operation.call in ("write", "writev", "sendto", "sendmsg")
        if judged or (answers and not answered):
            yield operation
        elif operation.call == "exit_group" and not ended:
            ended = True
            yield operation
        if answers:
            answered.add(operation.process)


def _killed(process: int) -> tuple[bool, str]:
    """Kill it and see it dead: answered before that, its call could still be carried out on the way."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return False, "it had ended by itself"
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        dead = select.poll()
        dead.register(descriptor, select.POLLIN)
        return (True, "") if dead.poll(DEATH_S * 1000) else (False, f"it was not dead {DEATH_S} s after SIGKILL")
    finally:
        os.close(descriptor)
