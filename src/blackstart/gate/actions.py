"""What is done to a call instead of letting it go: errno, delay, hang, short write, kill before and after.

Nothing here blocks or sleeps: a delayed call is put aside and answered by a timer, a hung one never, so the other
threads of the target go on.

`kill(after)`, and the exact stack of a finding: SIGSTOP is sent to the calling thread before it is let go. A signal is
taken only on the way back from the call, so the thread does exactly this call and stops; then everything is killed, or
a debugger looks. Until then no other call is answered. This works for every call, also those by path, which cannot be
carried out from outside.
"""

from __future__ import annotations

import errno
import heapq
import os
import signal
from collections.abc import Callable
from fcntl import ioctl

import msgspec

from blackstart.core.clock import Clock
from blackstart.core.rule import Term
from blackstart.core.trace import Operation
from blackstart.gate import calls as tables
from blackstart.gate import effects, notify
from blackstart.gate.native import stack_of
from blackstart.gate.operations import Event
from blackstart.gate.tampering import Firing
from blackstart.gate.tasks import Thread

_TICK_S = 0.0002
_STOP_WITHIN_S = 5.0
_FIRINGS_MAX = 10_000
CALLER_GONE = (errno.ENOENT, errno.EINPROGRESS)


class Step(msgspec.Struct, frozen=True):
    """A call that was taken, and what was decided for it: a signal may send it back to be begun again.

    written: how many bytes the gate has already written in its place; act: what is done before the call is let go.
    """

    event: Event
    operation: Operation
    call: tables.Call | None = None
    term: Term | None = None
    tamper_index: int = -1
    matched: bool | None = None
    written: int = -1
    act: Callable[[], tuple[bool, str]] | None = None


class _Stop(msgspec.Struct, frozen=True):
    """A thread that does one call and then stands still; then: what is done when it does, by when at the latest."""

    thread: Thread
    deadline_s: float
    then: Callable[[Thread], None]


class Actions:
    """Answers calls otherwise than by letting them go, now or later. again: by thread, calls whose answer came too late
    because a signal had taken the caller away; they come once more. held: what is awaited while no call is answered.
    with_stacks: the first thread that a tamper acts on is stopped behind its call, and its stack is read.
    """

    def __init__(
        self,
        listener: int,
        kill: Callable[[], None] | None,
        clock: Clock,
        *,
        with_stacks: bool = False,
    ) -> None:
        self.firings: list[Firing] = []
        self.again: dict[int, Step] = {}
        self.held: _Stop | None = None
        self.timer = notify.Timer()
        self._listener = listener
        self._kill = kill
        self._clock = clock
        self._with_stacks = with_stacks
        self._waits_killably = notify.waits_killably()
        self._late: list[tuple[float, int]] = []
        self._hung: list[int] = []

    def answer(self, notification: int, value: int, error: int, flags: int) -> bool:
        """Send the answer; False if the caller is not there any more (dead, or interrupted by a signal)."""
        try:
            ioctl(self._listener, notify.SEND, notify.RESPONSE.pack(notification, value, error, flags))
        except OSError as trouble:
            if trouble.errno in CALLER_GONE:
                return False
            raise
        return True

    def perform(self, notification: int, thread: Thread, step: Step) -> None:
        """Do what was decided for this call."""
        term = step.term
        assert term is not None and step.call is not None
        verb, delivered, note = term.verb, True, ""
        if step.act is not None:
            verb, (delivered, note) = "act", step.act()
        wants_stack = self._with_stacks and self._wants_stack(step)
        if wants_stack:
            self._stop_before(thread)
        if verb == "act":
            self.answer(notification, 0, 0, notify.CONTINUE)
        elif verb == "raise":
            delivered = self.answer(notification, 0, -term.exception.number, 0)
        elif verb in ("sleep", "delay"):
            due_s = self._clock.monotonic() + term.duration_s
            heapq.heappush(self._late, (due_s, notification))
            self._set_timer()
        elif verb in ("hang", "pause"):
            self._hung.append(notification)
        elif verb == "return":
            delivered, note = self._shorten(notification, thread, step, term.number or 0)
        elif term.is_after:
            delivered = self._kill_after(notification, thread)
        elif wants_stack:
            # Not carried out: the thread comes back only to stand still, and is killed there.
            delivered = self.answer(notification, 0, -errno.EINTR, 0)
        else:
            self._kill_all(thread)
        if not delivered and not note and verb in ("raise", "return"):
            self.again[thread.tid] = step
        if len(self.firings) < _FIRINGS_MAX:
            self.firings.append(
                Firing(
                    tamper_index=step.tamper_index,
                    operation=step.operation,
                    verb=verb,
                    matched=step.matched,
                    delivered=delivered,
                    note=note,
                )
            )
        if wants_stack:
            self._stop_after(thread)
            self._hold(thread, self._read_stack)

    def _shorten(self, notification: int, thread: Thread, step: Step, wanted: int) -> tuple[bool, str]:
        """(whether the short write took place, why not)"""
        assert step.call is not None
        if step.written >= 0:
            return self.answer(notification, step.written, 0, 0), ""

        def is_waiting() -> bool:
            return notify.is_waiting(self._listener, notification)

        try:
            written = effects.short_write(step.call, thread, step.operation, step.event, wanted, is_waiting)
        except effects.CallerGone:
            return False, ""
        except effects.NotCarriedOut as error:
            self.answer(notification, 0, 0, notify.CONTINUE)
            return False, str(error)
        except OSError as error:
            return self.answer(notification, 0, -(error.errno or errno.EIO), 0), f"carried out, and failed: {error}"
        if self.answer(notification, written, 0, 0):
            return True, ""
        # It is done; when the call comes once more, only the answer is missing.
        self.again[thread.tid] = msgspec.structs.replace(step, written=written)
        return True, ""

    def _kill_after(self, notification: int, thread: Thread) -> bool:
        self._stop_before(thread)
        if not self.answer(notification, 0, 0, notify.CONTINUE):
            return False
        self._stop_after(thread)
        self._hold(thread, self._kill_all)
        return True

    def _wants_stack(self, step: Step) -> bool:
        is_first = not any(firing.tamper_index == step.tamper_index for firing in self.firings)
        return is_first and step.term is not None and step.term.verb in ("raise", "return", "kill")

    def _stop_before(self, thread: Thread) -> None:
        if self._waits_killably:
            _stop(thread)

    def _stop_after(self, thread: Thread) -> None:
        """Where a signal would take the thread away from the gate (Linux < 5.19), it is sent behind the answer: the
        thread may go on for a moment then, but not through another call, since none is answered.
        """
        if not self._waits_killably:
            _stop(thread)

    def _read_stack(self, thread: Thread) -> None:
        self.firings[-1] = msgspec.structs.replace(self.firings[-1], stack=stack_of(thread.tid))
        if self.firings[-1].verb == "kill":
            self._kill_all(thread)
            return
        try:
            notify.signal_thread(thread.process.pid, thread.tid, signal.SIGCONT)
        except OSError:
            pass

    def _hold(self, thread: Thread, then: Callable[[Thread], None]) -> None:
        """Answer nothing until this thread has done its call."""
        self.held = _Stop(thread, self._clock.monotonic() + _STOP_WITHIN_S, then)
        self._set_timer()

    def _kill_all(self, thread: Thread) -> None:
        if self._kill is not None:
            self._kill()
            return
        try:
            os.kill(thread.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def run_timers(self) -> None:
        """Answer the delayed calls that are due; kill if the last call is over."""
        if not self._late and self.held is None:
            return
        self.timer.clear()
        now_s = self._clock.monotonic()
        while self._late and self._late[0][0] <= now_s:
            self.answer(heapq.heappop(self._late)[1], 0, 0, notify.CONTINUE)
        held = self.held
        if held is not None and (now_s > held.deadline_s or effects.is_stopped_or_gone(held.thread.tid)):
            self.held = None
            held.then(held.thread)
        self._set_timer()

    def _set_timer(self) -> None:
        due = [self._late[0][0]] if self._late else []
        if self.held is not None:
            due.append(self._clock.monotonic() + _TICK_S)
        self.timer.set(min(due, default=0.0))

    def release(self) -> None:
        """Let every call that was hung or delayed go on: a debugger hangs on a thread that waits in the gate."""
        for notification in [*self._hung, *(late[1] for late in self._late)]:
            self.answer(notification, 0, 0, notify.CONTINUE)
        self._hung.clear()
        self._late.clear()

    def close(self) -> None:
        self.timer.close()


def _stop(thread: Thread) -> None:
    """SIGSTOP, to be taken when the thread comes back from the call that it is in."""
    try:
        notify.signal_thread(thread.process.pid, thread.tid, signal.SIGSTOP)
    except OSError:
        pass
