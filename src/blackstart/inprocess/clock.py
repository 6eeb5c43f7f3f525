"""The clock of the code under test, replaced: what it would wait for passes at once.

    with replaced() as clock:
        connect_with_backoff(address)      # tries for two minutes; takes milliseconds
    assert clock.skipped_s == pytest.approx(120, abs=1)

The time it reads is the true time plus what was skipped, so code that polls without a pause goes on too. Who asks
decides: the standard library, the test runner and blackstart have the true time, all other code the replaced one. An
event loop of asyncio that has nothing to do jumps to its next timer; where an answer may still come (a connection is
open, a thread was started) it first gives that `patience_s` of true time. What waits in the kernel or in C (a socket's
own time-out, `datetime.now`, SQLite's busy wait) keeps the true time.
"""

from __future__ import annotations

import selectors
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from blackstart.core.clock import SYSTEM, Clock
from blackstart.inprocess.errors import AlreadyArmed, NotArmable

# Besides the standard library: who runs tests must know how long they really take.
_OTHERS = frozenset("blackstart pytest _pytest pluggy xdist execnet pytest_timeout pytest_asyncio hypothesis".split())
# Of the standard library, what only does for the program what it asks for.
_FOR_THE_PROGRAM = frozenset(("sched", "__main__"))
_OUR_THREADS = "blackstart-"
_active: list[ReplacedClock] = []


class ReplacedClock:
    """What a test knows of the replaced clock and does to it. Safe from several threads.

    skipped_s: how many seconds were skipped so far; waits: how often.
    """

    def __init__(self, patience_s: float) -> None:
        if not patience_s >= 0:
            raise NotArmable(f"patience_s is seconds, not {patience_s!r}", next_step="give a number from 0")
        self.patience_s = patience_s
        self.skipped_s = 0.0
        self.waits = 0
        self._lock = threading.RLock()
        self._pending: list[tuple[float, Callable[[], object]]] = []
        self._threads = set(threading.enumerate())

    def monotonic(self) -> float:
        """The true monotonic time plus what was skipped, in seconds."""
        return SYSTEM.monotonic() + self.skipped_s

    def now(self) -> float:
        """Seconds since 1970, plus what was skipped."""
        return SYSTEM.now() + self.skipped_s

    def sleep(self, seconds: float) -> None:
        """Skip so many seconds; two threads that sleep at once share what both skip."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if seconds == 0:
            SYSTEM.sleep(0)  # lets other threads run, as ever
            return
        self.skip_to(self.skipped_s + seconds)

    def spend(self, seconds: float) -> None:
        """As `sleep`: nobody is busy for time that is skipped."""
        self.sleep(seconds)

    def skip_to(self, skipped_s: float) -> None:
        """Skip so much in all, unless it is more already; what falls due meanwhile is done on the way."""
        with self._lock:
            self.waits += 1
            while (due := self._next_due()) is not None and due[0] - SYSTEM.monotonic() <= skipped_s:
                self.skipped_s = max(self.skipped_s, due[0] - SYSTEM.monotonic())
                self._pending.remove(due)
                due[1]()
            self.skipped_s = max(self.skipped_s, skipped_s)

    @contextmanager
    def after(self, seconds: float, do: Callable[[], object]) -> Iterator[None]:
        """`do` is called once so many seconds have passed or were skipped, at the latest at the end of the block."""
        order = (self.monotonic() + seconds, do)
        timer = threading.Timer(seconds, self._do, (order,))
        timer.daemon, timer.name = True, f"{_OUR_THREADS}after"
        try:
            with self._lock:
                self._pending.append(order)
            timer.start()
            yield
        finally:
            timer.cancel()
            self._do(order)

    def may_be_woken(self, descriptors: int) -> bool:
        """Whether something besides the time can wake a loop that watches so many descriptors of its own program."""
        started = set(threading.enumerate()) - self._threads - {threading.current_thread()}
        return descriptors > 0 or any(not thread.name.startswith(_OUR_THREADS) for thread in started)

    def _do(self, order: tuple[float, Callable[[], object]]) -> None:
        with self._lock:
            if order not in self._pending:
                return
            self._pending.remove(order)
        order[1]()

    def _next_due(self) -> tuple[float, Callable[[], object]] | None:
        return min(self._pending, key=lambda order: order[0], default=None)


def current() -> Clock:
    """The clock of the code under test now: a replaced one, else the machine's."""
    return _active[-1] if _active else SYSTEM


@contextmanager
def after(seconds: float, do: Callable[[], object]) -> Iterator[None]:
    """`do` is called once the code under test has seen so many seconds pass, at the latest at the end of the block."""
    with ExitStack() as stack:
        clock = _active[-1] if _active else stack.enter_context(_unreplaced())
        stack.enter_context(clock.after(seconds, do))
        yield


@contextmanager
def replaced(patience_s: float = 0.5) -> Iterator[ReplacedClock]:
    """Inside the block the code under test has a clock of its own; see the module. AlreadyArmed inside another one."""
    if _active:
        raise AlreadyArmed("the clock is replaced already", next_step="use the clock that the outer block gives")
    clock = ReplacedClock(patience_s)
    exchanged = _exchanged(clock)
    try:
        _active.append(clock)
        for holder, name, _, new in exchanged:
            setattr(holder, name, new)
        _put({id(old): new for _, _, old, new in exchanged})
        yield clock
    finally:
        for holder, name, old, _ in exchanged:
            setattr(holder, name, old)
        _put({id(new): old for _, _, old, new in exchanged})
        _active[:] = [other for other in _active if other is not clock]


@contextmanager
def _unreplaced() -> Iterator[ReplacedClock]:
    yield ReplacedClock(0)


def _exchanged(clock: ReplacedClock) -> list[tuple[Any, str, Any, Any]]:
    """(holder, name, what stands there, what stands there instead)."""
    import asyncio

    functions: dict[str, Callable[..., Any]] = {
        "sleep": clock.sleep,
        "monotonic": clock.monotonic,
        "monotonic_ns": lambda: int(clock.monotonic() * 1e9),
        "perf_counter": clock.monotonic,
        "perf_counter_ns": lambda: int(clock.monotonic() * 1e9),
        "time": clock.now,
        "time_ns": lambda: int(clock.now() * 1e9),
    }
    found: list[tuple[Any, str, Any, Any]] = []
    for name, do in functions.items():
        true = getattr(time, name)
        found.append((time, name, true, _asked(clock, true, do)))
    loop, selector = asyncio.BaseEventLoop, selectors.DefaultSelector
    found.append((threading.Event, "wait", threading.Event.wait, _event_wait(clock, threading.Event.wait)))
    found.append((loop, "time", loop.time, _loop_time(clock, loop.time)))
    return [*found, (selector, "select", selector.select, _select(clock, selector.select))]


def _asked(clock: ReplacedClock, true: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*arguments: Any) -> Any:
        return instead(*arguments) if _is_replaced_for(clock, sys._getframe(1)) else true(*arguments)

    ask.__name__ = true.__name__
    return ask


def _event_wait(clock: ReplacedClock, true: Callable[..., bool]) -> Callable[..., bool]:
    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None or timeout <= 0 or not _is_replaced_for(clock, sys._getframe(1)):
            return true(self, timeout)
        before, began = clock.skipped_s, SYSTEM.monotonic()
        if true(self, min(timeout, clock.patience_s)):
            return True
        clock.skip_to(before + timeout - (SYSTEM.monotonic() - began))
        return self.is_set()

    return wait


def _loop_time(clock: ReplacedClock, true: Callable[[Any], float]) -> Callable[[Any], float]:
    def loop_time(self: Any) -> float:
        return true(self) + (0.0 if _is_our_thread() or clock not in _active else clock.skipped_s)

    return loop_time


def _select(clock: ReplacedClock, true: Callable[..., Any]) -> Callable[..., Any]:
    def select(self: Any, timeout: float | None = None) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__")
        if not timeout or timeout < 0 or caller != "asyncio.base_events" or _is_our_thread() or clock not in _active:
            return true(self, timeout)
        before, began = clock.skipped_s, SYSTEM.monotonic()
        # One descriptor is the loop's own, by which others wake it.
        patience_s = min(timeout, clock.patience_s) if clock.may_be_woken(len(self.get_map()) - 1) else 0
        events = true(self, patience_s)
        if not events:
            clock.skip_to(before + timeout - (SYSTEM.monotonic() - began))
        return events

    return select


def _is_our_thread() -> bool:
    return threading.current_thread().name.startswith(_OUR_THREADS)


def _is_replaced_for(clock: ReplacedClock, caller: FrameType) -> bool:
    return clock in _active and _is_under_test(str(caller.f_globals.get("__name__", "")))


def _is_under_test(module: str) -> bool:
    top = module.partition(".")[0]
    return top in _FOR_THE_PROGRAM or (top not in _OTHERS and top not in sys.stdlib_module_names)


def _put(instead: dict[int, Any]) -> None:
    """Exchange what `from time import sleep` made names of in the code under test."""
    for name, module in list(sys.modules.items()):
        if _is_under_test(name):
            space = getattr(module, "__dict__", {})
            for key, value in list(space.items()):
                if id(value) in instead:
                    space[key] = instead[id(value)]
