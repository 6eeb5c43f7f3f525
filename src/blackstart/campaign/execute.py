"""Many trials on several workers, in order, until the budget is spent.

The seam is `concurrent.futures.Executor`: processes here, something else for whoever has a cluster. Plans are handed
out a few at a time, so that a spent budget or Ctrl-C leaves nothing queued, and a repetition can go before the rest.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from blackstart.campaign.worker import INTERRUPTIONS, Outcome, Workshop, begin, work
from blackstart.core.errors import Undecided
from blackstart.trials import Plan


class WorkerLost(Undecided):
    """A worker was ended by somebody else, as the kernel does where memory is short: no further trial can be done."""


class Why(StrEnum):
    """Why a trial is done. The first three are planned beforehand; all others follow from what one showed."""

    NULL = "null"  # without a fault
    CONTROL = "control"  # without a fault, its companions apart
    TRIAL = "trial"  # a candidate, once
    REPEAT = "repeat"  # whether a failure comes again
    CONFIRM = "confirm"  # a longer look, which decides by itself
    STACK = "stack"  # where a native program was when the fault acted; judged no more
    MEASURE = "measure"  # what it cost those who use a service; judged no more
    TRACE = "trace"  # which handlers a Python program enters; judged no more
    INSIST = "insist"  # whether a service that answered nobody answers after healing


@dataclass
class Task:
    """A trial to do; causes: of a repetition, fingerprints of what it repeats; number: where the store keeps it."""

    plan: Plan
    why: Why
    causes: tuple[str, ...] = ()
    number: int = 0
    began_s: float = 0.0
    took_s: float = 0.0
    is_urgent: bool = False


@dataclass
class Queue:
    """What is to be done: urgent tasks are done in any case, the others until the budget is spent."""

    urgent: deque[Task] = field(default_factory=deque)
    others: deque[Task] = field(default_factory=deque)
    running_urgent: int = 0

    @property
    def is_awaited(self) -> bool:
        """Whether the result of an urgent task is still to come."""
        return bool(self.urgent or self.running_urgent)

    def take(self, is_spent: bool) -> Task | None:
        """The next task, if any is left to be done."""
        if self.urgent:
            task = self.urgent.popleft()
            task.is_urgent = True
            self.running_urgent += 1
            return task
        return self.others.popleft() if self.others and not is_spent else None


@contextmanager
def workers(shop: Workshop, jobs: int) -> Iterator[Executor]:
    """`jobs` worker processes with benches of their own; all gone at the end, also after an exception."""
    context = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=begin, initargs=(shop,))
    try:
        # Nobody is interrupted while processes are forked: a worker that has not yet learnt to leave Ctrl-C to us would
        # die of it, and ours would be lost in a callback of the fork.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        try:
            executor.submit(int)  # all workers begin at the first task
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield executor
    finally:
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def each(
    executor: Executor,
    queue: Queue,
    jobs: int,
    is_spent: Callable[[], bool],
    before: Callable[[Task], None] = lambda task: None,
    left_s: Callable[[], float] = lambda: math.inf,
) -> Iterator[tuple[Task, Outcome]]:
    """(task, outcome) as they come, until queue or budget end; the caller may add to the queue meanwhile.

    before: called with each task before it begins; left_s: how long the last ones may still take, in seconds: what is
    not done by then is given up.
    """
    running: dict[Future[Outcome], Task] = {}
    while True:
        while len(running) < jobs:
            task = queue.take(is_spent()) if left_s() > 0 else None
            if task is None:
                break
            before(task)
            with _told():
                running[executor.submit(work, task.plan)] = task
        if not running:
            return
        patience_s = left_s()
        done, _ = wait(running, None if math.isinf(patience_s) else max(patience_s, 0.0), return_when=FIRST_COMPLETED)
        if not done:
            return
        for future in done:
            with _told():
                outcome = future.result()
            task = running.pop(future)
            queue.running_urgent -= task.is_urgent
            yield task, outcome


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise WorkerLost(
            "a worker was ended from outside in the middle of a trial",
            next_step="look whether memory is short (the kernel's log tells); fewer trials at once need less: -j 1",
        ) from None
