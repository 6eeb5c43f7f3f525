"""Who uses a running service: the workload and the check, each started beside it in its network, outside the gate.

They are heard while the service is served, by the same loop: a workload whose pipe is full would stand, and a call of
the service that waits in the gate would let it wait as well.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection

from blackstart.core.history import Act, WorkloadEnd
from blackstart.core.reading import Reading
from blackstart.core.trace import Operation
from blackstart.sandbox import Sandbox
from blackstart.targets.aside import Aside
from blackstart.targets.command import Command, OnOperation
from blackstart.targets.workload import acts

CHECK_LIMIT_S = 30.0
# Before a check that failed is asked again.
AGAIN_S = 1.0
# After the target's end its users still read and tell the answers that they were sent.
LAST_WORDS_S = 0.3
_TICK_S = 0.02


class Users:
    """Those of one start.

    poll: where what they say is waited for; now_s: seconds since that start; step: serves whatever is ready, waiting at
    most so long; is_down: whether the service is no more; heard: called with what the workload says.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        poll: select.poll,
        now_s: Callable[[], float],
        step: Callable[[float], None],
        is_down: Callable[[], bool],
        heard: Callable[[bytes], None] | None = None,
    ) -> None:
        self._sandbox, self._poll = sandbox, poll
        self._now_s, self._step, self._is_down = now_s, step, is_down
        self._heard = heard
        self._asides: list[Aside] = []
        self._by_descriptor: dict[int, Aside] = {}
        self._worker: Aside | None = None
        self._passed_on = 0

    @property
    def numbers(self) -> list[int]:
        """What the sandbox calls them."""
        return [aside.number for aside in self._asides]

    def close(self) -> None:
        """End those that are left, and give their pipes back."""
        for aside in self._asides:
            aside.kill()
            aside.close()

    def take(self, descriptor: int) -> bool:
        """Read what one of them says; False where that is nothing of theirs."""
        aside = self._by_descriptor.get(descriptor)
        if aside is not None and not aside.pipes.read(descriptor):
            self._poll.unregister(descriptor)
            del self._by_descriptor[descriptor]
        return aside is not None

    def hearing(self, on_operation: OnOperation) -> OnOperation:
        """Before each operation, what the workload has said by then is passed on."""

        def after_hearing(operation: Operation) -> None:
            self._hear()
            on_operation(operation)

        return after_hearing if self._heard is not None else on_operation

    def work(self, workload: Command, limit_s: float) -> tuple[tuple[Act, ...], WorkloadEnd]:
        """(what the workload said, how it ended) of one run of it."""
        aside = self._worker = self._start(workload)
        self._passed_on = 0
        self._await(aside, limit_s)
        last_s = self._now_s() + LAST_WORDS_S
        while self._is_down() and self._status(aside) is None and self._now_s() < last_s:
            self._step(_TICK_S)
            self._sandbox.event()
        aside.pipes.drain()
        self._hear()
        status = self._status(aside)
        is_late = status is None and not self._is_down()
        aside.kill()
        end = WorkloadEnd(
            code=None if status is None else os.waitstatus_to_exitcode(status),
            limit_s=limit_s if is_late else 0.0,
            said=" | ".join(aside.pipes.text("stderr").strip().splitlines()[-2:]),
        )
        return acts(aside.pipes.outputs), end

    def ask(self, check: Command, acknowledged: Collection[str], left_s: float) -> Reading:
        """The answer of the check, which reads the acknowledged ids, one a line.

        One that fails without a word is asked once more: it may have waited too short for an answer. What it said may
        have taken something away.
        """
        reading = self._answer(check, acknowledged, left_s)
        code, _, said = str(reading.value).partition("\n")
        if reading.error or code == "0" or said.strip():
            return reading
        end_s = self._now_s() + AGAIN_S
        while not self._is_down() and self._now_s() < end_s:
            self._step(_TICK_S)
        return reading if self._is_down() else self._answer(check, acknowledged, left_s - AGAIN_S)

    def _answer(self, check: Command, acknowledged: Collection[str], left_s: float) -> Reading:
        ids = os.memfd_create("acknowledged", os.MFD_CLOEXEC)
        try:
            os.write(ids, "".join(f"{one}\n" for one in acknowledged).encode(errors="surrogateescape"))
            os.lseek(ids, 0, os.SEEK_SET)
            aside = self._start(check, ids)
        finally:
            os.close(ids)
        limit_s = min(CHECK_LIMIT_S, left_s / 2)  # so that one that hangs can still be told from a short budget
        self._await(aside, limit_s)
        self._sandbox.event()
        aside.pipes.drain()
        status = self._status(aside)
        aside.kill()
        error = "" if status is not None else f"the check had not ended after {limit_s:.0f} s"
        if status is None and self._is_down():
            error = "the service ended while the check ran"
        code = os.waitstatus_to_exitcode(status) if status is not None else -1
        return Reading(name="check", when="up", value=f"{code}\n{aside.pipes.text('stdout')}", error=error)

    def _start(self, command: Command, stdin: int = -1) -> Aside:
        aside = Aside(self._sandbox, command, self._now_s, stdin)
        self._asides.append(aside)
        for descriptor in aside.pipes.descriptors():
            self._by_descriptor[descriptor] = aside
            self._poll.register(descriptor, select.POLLIN)
        return aside

    def _await(self, aside: Aside, limit_s: float) -> None:
        """Serve the service until this one has ended, the service is down or the time is over."""
        end_s = self._now_s() + limit_s
        while not self._is_down() and self._status(aside) is None and self._now_s() < end_s:
            self._step(_TICK_S)

    def _status(self, aside: Aside) -> int | None:
        return self._sandbox.ended_beside(aside.number)

    def _hear(self) -> None:
        if self._worker is None or self._heard is None:
            return
        self._worker.pipes.drain()
        for output in self._worker.pipes.outputs[self._passed_on :]:
            if output.stream == "stdout":
                self._heard(output.data)
        self._passed_on = len(self._worker.pipes.outputs)
