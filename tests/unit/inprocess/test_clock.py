"""A replaced clock: nobody who is under test really waits, and everybody else does.

No time is asserted from above: that nothing waited is seen by waits of an hour that end at all.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType

import pytest

from blackstart.clock import ReplacedClock, after, current, replaced
from blackstart.core.clock import SYSTEM
from blackstart.inprocess import armed
from blackstart.inprocess.clock import _is_under_test
from blackstart.inprocess.errors import AlreadyArmed
from blackstart.testing import check_fault

HOUR_S = 3600.0
pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def clock() -> Iterator[ReplacedClock]:
    with replaced() as one:
        yield one


def test_sleeps_of_copies_and_of_the_module_pass_at_once_and_are_told(clock: ReplacedClock) -> None:
    began, wall = time.monotonic(), time.time()
    time.sleep(HOUR_S)
    sleep(HOUR_S)
    for elapsed_s in (monotonic() - began, time.time() - wall, time.perf_counter_ns() / 1e9 - began):
        assert elapsed_s >= 2 * HOUR_S
    assert clock.skipped_s == pytest.approx(2 * HOUR_S, abs=60)
    assert clock.waits == 2


def test_it_is_as_before_afterwards() -> None:
    names = ("sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns")

    def seen() -> object:
        held = [getattr(time, name) for name in names] + [sleep, monotonic, threading.Event.wait]
        return [*held, asyncio.BaseEventLoop.time, current() is SYSTEM]

    check_fault(replaced, seen)


def test_a_module_imported_meanwhile_is_given_the_true_clock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dozing.py").write_text("from time import sleep\n")
    monkeypatch.syspath_prepend(tmp_path)
    with replaced():
        import dozing

        dozing.sleep(HOUR_S)
    assert dozing.sleep is time.sleep
    del sys.modules["dozing"]


def test_the_runner_the_library_and_blackstart_keep_the_true_time(clock: ReplacedClock) -> None:
    sleep(HOUR_S)
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=0.01)
    assert SYSTEM.monotonic() + HOUR_S <= monotonic()
    assert clock.skipped_s == pytest.approx(HOUR_S, abs=60)
    assert [_is_under_test(name) for name in ("threading", "_pytest.timing", "blackstart.proxy", "shop", "a.time")] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_code_that_polls_without_a_pause_comes_to_its_end(clock: ReplacedClock) -> None:
    until = monotonic() + 0.05
    while monotonic() < until:
        pass
    assert clock.waits == 0


def test_an_event_is_waited_for_a_moment_and_then_the_time_is_over() -> None:
    with replaced(patience_s=0.01) as clock:
        assert threading.Event().wait(HOUR_S) is False
        assert clock.skipped_s >= HOUR_S - 1
        done = threading.Event()
        done.set()
        assert done.wait(HOUR_S)


def test_threads_that_sleep_at_once_share_the_time(clock: ReplacedClock) -> None:
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        sleep(HOUR_S)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert HOUR_S - 1 <= clock.skipped_s <= 4 * HOUR_S


def test_a_loop_jumps_to_its_next_timer(clock: ReplacedClock) -> None:
    order = []

    async def work(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(work("late", 2 * HOUR_S), work("early", HOUR_S))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), HOUR_S)
        assert asyncio.get_running_loop().time() - began >= 3 * HOUR_S

    asyncio.run(main())
    assert order == ["early", "late"]


def test_a_loop_waits_for_a_real_answer_before_it_jumps() -> None:
    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        answer = await asyncio.wait_for(reader.read(5), HOUR_S)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(5), HOUR_S)
        writer.close()
        return answer

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(5))

    loop = asyncio.new_event_loop()
    with closing(loop), replaced(patience_s=2.0):
        server = loop.run_until_complete(asyncio.start_server(answers, "127.0.0.1", 0))
        assert loop.run_until_complete(main()) == b"hello"
        server.close()


def test_a_loop_waits_for_a_thread_that_works_for_it(clock: ReplacedClock) -> None:
    async def main() -> str:
        work = asyncio.get_running_loop().run_in_executor(None, lambda: SYSTEM.sleep(0.02) or "done")
        return await asyncio.wait_for(work, HOUR_S)

    assert asyncio.run(main()) == "done"


def test_what_is_due_is_done_on_the_way(clock: ReplacedClock) -> None:
    seen: list[float] = []
    began = monotonic()
    with after(10, lambda: seen.append(monotonic() - began)), after(HOUR_S, lambda: seen.append(-1)):
        for _ in range(4):
            sleep(4)
    assert seen[0] == pytest.approx(10, abs=5)
    assert seen[1] == -1, "the end of the block is the latest moment"


def test_without_a_replaced_clock_it_is_done_in_true_time() -> None:
    done = threading.Event()
    with after(0.01, done.set):
        assert done.wait(30)


def test_verbs_that_wait_use_it(shop: ModuleType, clock: ReplacedClock) -> None:
    for rule in (f"sleep({HOUR_S:g}s)", f"delay({HOUR_S:g}s)"):
        with armed("cas-put-before-write", rule):
            shop.put({}, "k", 1)
        with armed("in-async", rule):
            asyncio.run(shop.fetch(1))
    assert clock.skipped_s >= 4 * HOUR_S - 1


def test_bad_input(clock: ReplacedClock) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        sleep(-1)
    with pytest.raises(AlreadyArmed, match="replaced already"), replaced():
        pass
    sleep(0)
    assert clock.waits == 0
