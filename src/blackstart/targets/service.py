"""A service as a target: one start from readiness through its work to its stop.

It is the same start as a job's, with the same gate and the same pipes, but nothing of it is awaited in one go: the loop
serves the target until it is ready, until its users are done, until it has settled, until it has stopped. It is told to
stop as supervisors do: TERM, then time, then KILL.
"""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Mapping, Sequence

import msgspec

from blackstart.core.clock import SYSTEM, Clock
from blackstart.core.errors import SandboxLimit
from blackstart.core.history import STOPPED, Act, End, Life, Wait
from blackstart.core.reading import Reading
from blackstart.core.trace import Operation
from blackstart.core.waiting import CONNECTED_S, TICK_S, TICKING_S
from blackstart.sandbox import Sandbox
from blackstart.targets import census
from blackstart.targets.command import Command, Conducted, GateOrder, OnOperation, Start, account, always, ended
from blackstart.targets.duty import Duty, Service
from blackstart.targets.look import Look, is_at_rest, is_at_work, is_ready_to_run, longest, look, waits
from blackstart.targets.readiness import ASKED, Asker
from blackstart.targets.releasing import Releasing
from blackstart.targets.silence import is_silent
from blackstart.targets.users import Users
from blackstart.targets.watch import REPEAT_S, Diagnosis, Patience
from blackstart.targets.watching import Watching

# How long a program past its limit is looked at, to say what it does.
LOOK_S, LOOK_EVERY_S = 6.0, 0.25
# Waiting again and again is told from waiting for somebody only by its length.
STOP_LOOK_S = REPEAT_S + 5
BLIND_SETTLE_S, AGAIN_S = 1.0, 1.0
# How long one may rest that does not try (clients give up an answer after 10 s, and after 30 s, as a rule).
NO_TRY_S = 35.0
# How long a service has, after rounds in which it grew or after bad clients, to let go of what it holds for them.
LETTING_GO_S = 10.0
_TICK_S = 0.02
# What it still does for its users is done before it is told to stop, or nobody knows what the signal cuts short.
REST_S, REST_LOOK_S = 1.0, 0.02
# What ticks by itself is met at work now and then; who works on is met so at most looks.
WORK_LOOKS, WORK_LOOK_S = 5, 0.1
# How long a fault is tried that the target is in the way of.
BREAK_S = 1.0
# Between the signals on the way out: all within the time in which a handler still runs.
SOON_S = 0.005


class _Serving(Start):
    """The state of one running start of a service."""

    def __init__(
        self,
        sandbox: Sandbox,
        service: Service,
        duty: Duty,
        patience: Patience,
        clock: Clock,
        left_s: Callable[[], float],
    ) -> None:
        super().__init__(sandbox, patience, clock, left_s)
        self.service = service
        self.duty = duty
        self.life = Life()
        self.status: int | None = None
        self.readings: list[Reading] = []
        self.users = Users(sandbox, self.poll, self.elapsed_s, self._step, lambda: self.is_down, duty.heard)
        self._asker = Asker(service.ready, sandbox, self._said, self.elapsed_s)
        self._waits: set[tuple[int, str, int]] = set()
        self._releasing: Releasing | None = None

    @property
    def is_down(self) -> bool:
        """Whether the target is no more."""
        return self.killed or self.status is not None

    def end(self) -> None:
        """Nothing of the target is alive afterwards; what was started beside it goes on."""
        if not self.is_over:
            self.sandbox.kill(self.users.numbers)
            self.is_over = True

    def close(self) -> None:
        """End what is left, and give everything back."""
        try:
            self._asker.close()
            self.end()
        finally:
            self.users.close()
            self.signals.close()
            if self.supervisor:
                self.supervisor.close()
            self.pipes.close()

    def live(self) -> Wait | None:
        """From start to stop; what it does instead of getting ready, if it does not."""
        limit_s, look_s = self.patience.deadline_s, min(LOOK_S, self.patience.hard_s - self.patience.deadline_s)
        wait = self._until(self._asker.ask, limit_s, look_s)
        if wait is not None and self.duty.heal is not None:
            self._heal()
            wait = self._until(self._asker.ask, limit_s, look_s)
        if self.is_down or wait is not None:
            return None if self.is_down else wait
        self._note(ready_s=self.elapsed_s())
        self._waits = waits(self._look_now())
        if self.duty.lets_go:
            self._releasing = Releasing(self.sandbox.census, self.elapsed_s)
        if self.duty.when_ready is not None:
            self._break(self.duty.when_ready)
        if self.duty.works:
            self._work()
        if self.duty.hold_s:
            self._until(lambda: self.elapsed_s() >= self.life.ready_s + self.duty.hold_s, self.duty.hold_s + 1)
        if not self.is_down and self.duty.heal is not None:
            self._heal()
            self._settle()
            if self.duty.works_again and self.service.workload is not None:
                self._work_again(self.service.workload)
        if not self.is_down and self.duty.again:
            self._again_and_again()
        if not self.is_down and self.duty.asks and self.service.check is not None:
            told = self.duty.acknowledged or _ids(self.life.acts)
            self.readings.append(self.users.ask(self.service.check, told, self._left_s()))
        if not self.is_down and self.duty.works_after and self.service.workload is not None:
            self._note(after=self.users.work(self.service.workload, self.patience.work_s)[0])
        if not self.is_down:
            self._stop()
        return None

    def _note(self, **found: object) -> None:
        self.life = msgspec.structs.replace(self.life, **found)

    def _said(self) -> bytes:
        return b"".join(output.data for output in self.pipes.outputs)

    def _until(self, is_done: Callable[[], bool], limit_s: float, look_s: float = LOOK_S) -> Wait | None:
        """Serve until it is done or the target is down (None); past the limit, what the target does."""
        deadline_s = self.elapsed_s() + limit_s
        diagnosis = Diagnosis()
        next_look_s = deadline_s
        while not self.is_down and not is_done():
            now_s = self.elapsed_s()
            if now_s >= next_look_s:
                wait = self.fed(diagnosis, now_s)
                if wait is None and now_s >= deadline_s + look_s:
                    wait = diagnosis.last()
                if wait is not None:
                    return wait
                next_look_s = now_s + LOOK_EVERY_S
            self._step(_TICK_S)
        return None

    def _step(self, timeout_s: float) -> None:
        """Serve whatever is ready, waiting at most so long."""
        self.signals.send_due()
        for descriptor, event in self.attend(timeout_s):
            if descriptor == self.sandbox.fileno():
                ended = self.sandbox.event()
                if ended is not None:
                    self.status = ended.status
                elif event & (select.POLLHUP | select.POLLERR):
                    self.sandbox.close()
                    raise SandboxLimit("process 1 of the sandbox was ended from outside; memory may be short")
            elif not self.users.take(descriptor):
                self.take(descriptor)
        if self.life.fired_s < 0 and self.supervisor and self.supervisor.firings:
            self._note(fired_s=self.elapsed_s())

    def _work(self) -> None:
        """Run the workload to its end, or idle."""
        if self.service.workload is None:
            self._until(_after(self.elapsed_s, self.service.idle_s), self.service.idle_s + 1)
            return
        found, told = self.users.work(self.service.workload, self.patience.work_s)
        self._note(acts=found, workload=told)

    def _work_again(self, workload: Command) -> None:
        """Let the workload run until all that it asks for is done again, or the service has had its time for that.

        A pause that grows with each vain try is about as long as all the tries before it.
        """
        began_s, healed_s = self.elapsed_s(), self.life.healed_s
        back_s = self.life.fired_s if self.duty.is_brief else healed_s
        outage_s = max(0.0, healed_s - self.life.fired_s) if self.life.fired_s >= 0 else 0.0
        enough_s = began_s + max(self.duty.settle_s, 2 * outage_s + 5.0)
        connects = self.supervisor.connects if self.supervisor else ()
        while not self.is_down:
            self._heal_late()
            begins_s, known = self.elapsed_s(), len(self._trace())
            found, told = self.users.work(workload, self.patience.work_s)
            after = [(at_s, to) for at_s, to in connects if at_s > back_s]
            once = [to for at_s, to in connects if at_s <= self.life.fired_s and to in {to for _, to in after}]
            self._note(
                meanwhile=(*self.life.meanwhile, *self.life.again), again=found, again_workload=told,
                connects=len(after), connected=len(once),
                idle_s=begins_s - max([healed_s, *(at_s for at_s, _ in after)]),
                asked_s=begins_s, is_silent=self._is_silent(known),
            )  # fmt: skip
            is_well = told.is_well and all(act.how == "ok" for act in found)
            is_back = bool(after) and len(after) >= len(once)
            no_try_s = TICKING_S if 0 < longest(self._look_now(), ()) <= TICK_S else NO_TRY_S
            is_told = begins_s > enough_s and self.life.idle_s >= (CONNECTED_S if is_back else no_try_s)
            if is_well or is_told or begins_s >= began_s + self.duty.again_max_s:
                break
            self._until(_after(self.elapsed_s, AGAIN_S), AGAIN_S + 1)
        pause_s = longest(self._look_now(), ())
        self._note(pause_s=pause_s, is_at_work=self._is_at_work())

    def _is_at_work(self) -> bool:
        """Whether it does something most of the time."""
        met = 0
        for _ in range(WORK_LOOKS):
            self._until(_after(self.elapsed_s, WORK_LOOK_S), WORK_LOOK_S + 1)
            met += is_at_work(self._look_now())
        return met > WORK_LOOKS // 2

    def _trace(self) -> Sequence[Operation]:
        return self.supervisor.trace if self.supervisor else ()

    def _is_silent(self, known: int) -> bool:
        """Whether it listens and lets out nothing since so many operations were known; that takes a whole recording."""
        trace = self._trace()
        if self.supervisor is None or not trace or "trace" in self.supervisor.uncovered:
            return False
        listens = census.listeners(self.sandbox.pid1) or census.datagram_ports(self.sandbox.pid1)
        return bool(listens) and is_silent(trace[known:])

    def _again_and_again(self) -> None:
        """Further rounds of the same, each healed and at rest when it is counted; a while after the last it is counted
        once more, as what still tries may only be slow to let go.
        """
        fired = 0
        for arm in (None, *self.duty.again):
            if arm is not None:
                orders = arm()
                if self.supervisor is not None:
                    self.supervisor.arm(orders)
                    fired = len(self.supervisor.firings)
                self._work()
                if self.duty.heal is not None:
                    self._heal()
                    self._settle()
            self._rest()
            if self.is_down:
                return
            seen = census.count(self.sandbox.census())
            acted = self.supervisor is not None and len(self.supervisor.firings) > fired
            self._note(rounds=(*self.life.rounds, (seen, acted)))
        grown = [seen.threads + seen.descriptors for seen, _ in self.life.rounds]
        if grown[-1] > grown[0]:
            self._until(_after(self.elapsed_s, LETTING_GO_S), LETTING_GO_S + 1)
        self._note(rounds=(*self.life.rounds, (census.count(self.sandbox.census()), False)))

    def _heal(self) -> None:
        """End what does not end by itself; what the gate has not done yet may still come while it stops."""
        assert self.duty.heal is not None
        if self.supervisor and self.supervisor.firings:
            self.supervisor.heal()
        self.duty.heal()
        self._note(healed_s=self.elapsed_s())

    def _heal_late(self) -> None:
        """What came only after the healing does not stay either, or those who ask again would meet it for ever."""
        if self.life.fired_s > self.life.healed_s:
            self._heal()

    def _is_ready_again(self) -> bool:
        self._heal_late()
        return self._asker.ask()

    def _break(self, fault: Callable[[], bool]) -> None:
        """Let the fault act now; a moment later where the target is in its way."""
        end_s = self.elapsed_s() + BREAK_S
        while not self.is_down and self.elapsed_s() < end_s:
            if fault():
                self._note(fired_s=self.elapsed_s())
                return
            self._step(_TICK_S)

    def _by_itself(self, trace: Sequence[Operation]) -> None:
        """See what it does by itself now, and what has begun to wait for longer than it is watched."""
        watching = Watching(trace, self.duty.effects, self.elapsed_s(), self.duty.watch_s)
        while not self.is_down and not watching.is_over(self.elapsed_s()):
            if watching.wants_look(self.elapsed_s()):
                watching.looked(longest(self._look_now(), self._waits))
            self._step(_TICK_S)
        self._note(effects=watching.moments(), back_off_s=watching.back_off_s)

    def _settle(self) -> None:
        """Wait until it is ready again; note whether it tried anything meanwhile."""
        before = census.effort(self.sandbox.census())
        if self.service.ready.kind not in ASKED:
            # What it once said or made tells nothing of now; it is given a moment.
            self._until(_after(self.elapsed_s, BLIND_SETTLE_S), BLIND_SETTLE_S + 1)
        if self._until(self._is_ready_again, self.duty.settle_s, look_s=0.0) is None and not self.is_down:
            self._note(again_s=self.elapsed_s())
        if self.life.again_s >= 0 and self.duty.watch_s and self.supervisor:
            self._rest()  # what it does for whoever asked whether it is ready it does not do by itself
            self._by_itself(self._trace())
        tried = census.effort(self.sandbox.census()) != before or is_ready_to_run(self._look_now())
        self._note(tried=tried)

    def _rest(self) -> None:
        """Wait until nothing of it runs, for a moment; a handler told of in mid-work is a fault of its own kind.

        On a busy machine the last request may be answered long before the thread that took it goes on.
        """
        end_s = self.elapsed_s() + REST_S
        earlier = self._look_now()
        while not self.is_down and (now_s := self.elapsed_s()) < end_s:
            while not self.is_down and self.elapsed_s() < now_s + REST_LOOK_S:
                self._step(REST_LOOK_S)
            seen = self._look_now()
            if is_at_rest(earlier, seen):
                return
            earlier = seen

    def _look_now(self) -> Look:
        return look([process.outer_pid for process in self.sandbox.census()], self.elapsed_s())

    def _stop(self) -> None:
        """TERM, time, KILL."""
        self._rest()
        if (releasing := self._releasing) is not None:
            is_over = _after(self.elapsed_s, LETTING_GO_S)
            self._until(lambda: is_over() or releasing.is_done(), LETTING_GO_S + 1)
            self._note(is_busy=releasing.is_busy)
        if self.is_down:
            return
        self._note(census=census.count(self.sandbox.census()), stop_s=self.elapsed_s())
        for order, number in enumerate((signal.SIGTERM, *self.duty.signals_at_stop)):
            self.signals.later(order * SOON_S, number)
        look_s = STOP_LOOK_S if self.service.stops else 0.0
        wait = self._until(lambda: False, self.service.stop_limit_s, look_s=look_s)
        if wait is not None:
            self._note(held_up=wait)


def serve(
    sandbox: Sandbox,
    command: Command,
    service: Service,
    duty: Duty,
    *,
    gate: GateOrder | None = None,
    patience: Patience | None = None,
    on_operation: OnOperation | None = None,
    drop_capabilities: Sequence[str] = (),
    signals: Mapping[int, tuple[int, ...]] = {},
    clock: Clock = SYSTEM,
    left_s: Callable[[], float] = always,
) -> Conducted:
    """Start the service, let it work, stop it. Afterwards nothing of it is alive.

    Raises TargetError when it cannot be executed, SandboxLimit when the sandbox cannot hold it, and whatever
    left_s raises when no time is left for it.
    """
    start = _Serving(sandbox, service, duty, patience or Patience(), clock, left_s)
    start.signals.plan(signals)
    try:
        start.begin(command, gate, on_operation and start.users.hearing(on_operation), drop_capabilities)
        wait = start.live()
        conducted = account(start, start.status, wait)
        return msgspec.structs.replace(
            conducted, end=_end(start, conducted.end), life=start.life, readings=tuple(start.readings)
        )
    finally:
        start.close()


def _end(start: _Serving, end: End) -> End:
    """An end after it was told to stop is no end by itself; one that needed KILL is of signal 9."""
    if start.killed or start.life.stop_s < 0:
        return end
    if start.status is None:
        return End(how=STOPPED, signal=signal.SIGKILL, elapsed_s=end.elapsed_s)
    return msgspec.structs.replace(ended(start.status, end.elapsed_s), how=STOPPED)


def _after(now_s: Callable[[], float], wait_s: float) -> Callable[[], bool]:
    end_s = now_s() + wait_s
    return lambda: now_s() >= end_s


def _ids(found: tuple[Act, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(act.id for act in found if act.how == "ok"))
