"""The diagnosis of a target that does not end, fed with looks made by hand: a look each quarter of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.history import Wait
from blackstart.targets import Diagnosis, Look, Patience, ThreadWait
from blackstart.targets.look import is_at_rest, is_at_work, longest

STEP_S = 0.25


def thread(
    call: str = "read", *, limit_s: float | None = None, switches: int = 7, number: int = 1, is_kept: bool = False
) -> ThreadWait:
    return ThreadWait(thread=number, state="S", call=call, limit_s=limit_s, switches=switches, is_kept=is_kept)


RUNNING = ThreadWait(thread=1, state="R")


def watch(
    at: Callable[[float], Iterable[ThreadWait]],
    *,
    cpu: float = 0.0,
    progress: Callable[[float], int] = lambda at_s: 0,
    until_s: float = 60.0,
) -> tuple[Wait, float]:
    """(what ended the observation, when), looking from 0 s on; the hard limit is at until_s."""
    diagnosis = Diagnosis(until_s)
    now_s = 0.0
    while now_s <= until_s:
        look = Look(at_s=now_s, cpu_s=cpu * now_s, threads=tuple(at(now_s)))
        wait = diagnosis.feed(look, progress(now_s))
        if wait is not None:
            return wait, now_s
        now_s += STEP_S
    return diagnosis.last(), now_s


def test_a_wait_without_a_limit_is_blocked_after_two_seconds() -> None:
    wait, at_s = watch(lambda now: [thread("read")])
    assert (wait.state, wait.call, at_s) == ("blocked", "read", 2.0)
    assert wait.seen_s >= 2.0


def test_every_thread_must_be_blocked() -> None:
    wait, _ = watch(lambda now: [thread("read"), ThreadWait(thread=2, state="R")], cpu=0.3)
    assert wait.state == "working"


def test_who_waits_for_a_child_is_not_the_culprit() -> None:
    wait, _ = watch(lambda now: [thread("wait4"), thread("flock", number=2)])
    assert (wait.state, wait.call) == ("blocked", "flock")


@pytest.mark.parametrize("is_monitor, state, call", [(True, "blocked", "epoll_pwait"), (False, "timed", "futex")])
def test_a_runtimes_monitor_keeps_nobody_from_being_blocked(is_monitor: bool, state: str, call: str) -> None:
    monitor = ThreadWait(thread=2, state="S", call="futex", limit_s=60.0, switches=7, is_monitor=is_monitor)
    wait, _ = watch(lambda now: [thread("futex"), thread("epoll_pwait", number=3), monitor], until_s=40.0)
    assert (wait.state, wait.call) == (state, call)


def test_a_runtimes_monitor_is_no_back_off() -> None:
    monitor = ThreadWait(thread=2, state="S", call="futex", limit_s=60.0, switches=7, is_monitor=True)
    pausing = thread("futex", limit_s=30.0, number=3)
    assert longest(Look(at_s=0.0, cpu_s=0.0, threads=(monitor,)), ()) == 0.0
    assert longest(Look(at_s=0.0, cpu_s=0.0, threads=(monitor, pausing)), ()) == 30.0


def test_a_stopped_process_is_blocked() -> None:
    wait, _ = watch(lambda now: [ThreadWait(thread=1, state="T", call="read")])
    assert wait.state == "blocked"


def test_new_waits_are_not_one_long_wait() -> None:
    wait, _ = watch(lambda now: [thread("read", switches=int(now))])
    assert wait.state == "working"


def test_the_wait_counts_from_its_own_beginning() -> None:
    """Busy for three seconds, then blocked: it has been blocked for two seconds only after five."""
    wait, at_s = watch(lambda now: [thread("read")] if now >= 3 else [RUNNING])
    assert (wait.state, at_s, wait.seen_s) == ("blocked", 5.0, 2.0)


def test_output_begins_the_observation_anew() -> None:
    wait, at_s = watch(lambda now: [thread("read")], progress=lambda now: int(now >= 1.5))
    assert (wait.state, at_s) == ("blocked", 3.5)


def test_a_wait_within_its_own_limit_is_not_hung() -> None:
    wait, at_s = watch(lambda now: [thread("poll", limit_s=20.0)] if now < 19 else [RUNNING], until_s=25)
    assert wait.state != "blocked"
    assert at_s > 25


def test_a_wait_past_its_limit_is_named_with_the_limit() -> None:
    wait, at_s = watch(lambda now: [thread("poll", limit_s=4.0)])
    assert (wait.state, wait.limit_s, at_s) == ("timed", 4.0, 7.0)
    assert wait.seen_s >= wait.limit_s + 3


def test_the_limit_of_an_absolute_wait_is_what_was_left_at_the_first_look() -> None:
    wait, at_s = watch(lambda now: [thread("futex", limit_s=max(0.0, 6.0 - now))])
    assert (wait.state, wait.limit_s, at_s) == ("timed", 6.0, 9.0)


def test_a_wait_beyond_our_patience_is_not_sat_out() -> None:
    wait, at_s = watch(lambda now: [thread("clock_nanosleep", limit_s=3600.0)], until_s=60)
    assert (wait.state, wait.limit_s, at_s) == ("timed", 3600.0, 2.0)
    assert wait.seen_s < wait.limit_s  # so nobody takes it for hung


def test_the_same_short_wait_again_and_again_is_repeating_after_half_a_minute() -> None:
    wait, at_s = watch(lambda now: [thread("poll", limit_s=1.0, switches=int(now))])
    assert (wait.state, wait.call, at_s) == ("repeating", "poll", 30.0)
    assert wait.rounds >= 10


def test_few_rounds_are_no_repetition() -> None:
    wait, _ = watch(lambda now: [thread("poll", limit_s=12.0, switches=int(now / 12))], until_s=59)
    assert wait.state == "timed"
    assert wait.seen_s < wait.limit_s + 3


@pytest.mark.parametrize("limit_s", [0.5, 5.0])
def test_a_wait_that_tcp_would_end_is_neither_endless_nor_repeating(limit_s: float) -> None:
    """A peer of ours that is silent answers the probes, so that it lasts all the same."""
    once, _ = watch(lambda now: [thread("recvfrom", limit_s=5.0, is_kept=True)])
    again, _ = watch(lambda now: [thread("poll", limit_s=limit_s, switches=int(now / limit_s), is_kept=True)])
    assert (once.state, again.state) == ("kept", "kept")


def test_a_new_process_for_each_short_wait_is_repeating_and_never_hung() -> None:
    wait, at_s = watch(lambda now: [thread("wait4"), thread("clock_nanosleep", limit_s=0.5, number=10 + int(2 * now))])
    assert (wait.state, at_s) == ("repeating", 30.0)


def test_a_start_that_confirms_a_repeating_wait_is_watched_for_longer() -> None:
    patience = Patience.after(0.1).confirming(80.0)
    assert (patience.deadline_s, patience.hard_s, patience.repeat_s) == (5.0, 95.0, 80.0)


def test_a_busy_target_is_busy_after_five_seconds() -> None:
    wait, at_s = watch(lambda now: [RUNNING], cpu=0.95)
    assert (wait.state, at_s) == ("busy", 5.0)
    assert wait.cpu == pytest.approx(0.95)


def test_a_busy_target_that_writes_is_at_work() -> None:
    wait, _ = watch(lambda now: [RUNNING], cpu=1.0, progress=lambda now: int(now))
    assert wait.state == "working"


def test_half_a_processor_is_slow_not_busy() -> None:
    wait, at_s = watch(lambda now: [RUNNING], cpu=0.5)
    assert wait.state == "working"
    assert at_s > 60
    assert wait.cpu == pytest.approx(0.5)


def test_a_tree_that_vanished_is_no_finding() -> None:
    wait, _ = watch(lambda now: [])
    assert (wait.state, wait.call) == ("working", "")


def test_nothing_seen_is_working() -> None:
    assert Diagnosis().last() == Wait(state="working")


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.lists(
                st.builds(
                    ThreadWait,
                    thread=st.integers(1, 3),
                    state=st.sampled_from("RSDT"),
                    call=st.sampled_from(["read", "poll", "wait4", ""]),
                    limit_s=st.one_of(st.none(), st.floats(0, 100)),
                    switches=st.integers(0, 5),
                ),
                max_size=4,
            ),
            st.integers(0, 3),
        ),
        max_size=60,
    )
)
def test_any_looks_give_an_answer_that_is_backed_by_what_was_seen(
    looks: list[tuple[float, list[ThreadWait], int]],
) -> None:
    diagnosis = Diagnosis(until_s=20)
    cpu_s = 0.0
    for number, (share, threads, progress) in enumerate(looks):
        at_s = number * STEP_S
        cpu_s += share * STEP_S
        wait = diagnosis.feed(Look(at_s=at_s, cpu_s=cpu_s, threads=tuple(threads)), progress)
        if wait is None:
            continue
        assert 0 <= wait.seen_s <= at_s
        assert wait.state in ("blocked", "timed", "repeating", "busy")
        assert wait.state != "blocked" or wait.seen_s >= 2
        assert wait.state != "busy" or (wait.seen_s >= 5 and wait.cpu >= 0.9)
        assert wait.state != "repeating" or (wait.seen_s >= 30 and wait.rounds >= 10)
    assert diagnosis.last().seen_s <= max(0, len(looks) - 1) * STEP_S


def test_patience_is_three_times_the_slowest_run_and_never_under_five_seconds() -> None:
    assert Patience.after(0.1).deadline_s == 5.0
    assert Patience.after(4.0).deadline_s == 12.0
    for slowest_s in (0.0, 1.0, 30.0):
        patience = Patience.after(slowest_s)
        assert patience.hard_s > patience.deadline_s + 30  # room for the longest observation


@pytest.mark.parametrize(
    ("later", "rests"),
    [
        ([thread("poll")], True),
        ([thread("poll", switches=8)], False),
        ([RUNNING], False),
        ([thread("poll"), thread("futex", number=2)], False),
        ([], False),
    ],
)
def test_at_rest_is_who_waits_on_in_the_same_wait(later: list[ThreadWait], rests: bool) -> None:
    earlier = Look(at_s=0.0, cpu_s=0.0, threads=(thread("poll"),))
    assert is_at_rest(earlier, Look(at_s=0.02, cpu_s=0.0, threads=tuple(later))) is rests


@pytest.mark.parametrize(
    ("seen", "works"),
    [
        (thread("poll"), False),
        (RUNNING, True),
        (ThreadWait(thread=1, state="D", call="fsync"), True),
        (ThreadWait(thread=1, state="S", is_gated=True), True),
    ],
)
def test_at_work_is_who_has_something_to_do_that_no_other_must_do_first(seen: ThreadWait, works: bool) -> None:
    assert is_at_work(Look(at_s=0.0, cpu_s=0.0, threads=(thread("futex", number=2), seen))) is works


def test_a_plan_done_again_on_a_slower_machine_is_given_that_machines_time() -> None:
    """Covers the replay of a hang that was found on a quiet machine and is shown again on a busy one."""
    quiet, busy = Patience.after(0.1).confirming(80.0), Patience.after(4.0, work_s=50.0)
    both = quiet.no_less_than(busy)
    assert (both.deadline_s, both.work_s) == (busy.deadline_s, busy.work_s)
    assert (both.hard_s, both.repeat_s) == (quiet.hard_s, quiet.repeat_s)


GATED = ThreadWait(thread=1, state="S", call="openat", path="/w/lock", is_gated=True)


def watch_turns(each: ThreadWait, *, a_second: int = 400, read_bytes: int = 0) -> Wait:
    """A program that makes the call of the fault so often, and gets 40 % of a processor."""
    diagnosis, now_s = Diagnosis(60.0), 0.0
    while now_s <= 60.0:
        threads = (each, thread("futex", number=2))
        look = Look(at_s=now_s, cpu_s=0.4 * now_s, threads=threads, read_bytes=int(read_bytes * now_s))
        wait = diagnosis.feed(look, 0, int(a_second * now_s))
        if wait is not None:
            return wait
        now_s += STEP_S
    return diagnosis.last()


def test_who_makes_the_failing_call_again_and_again_is_busy_though_the_gate_takes_a_part_of_its_time() -> None:
    wait = watch_turns(GATED)
    assert (wait.state, wait.call, wait.path) == ("busy", "openat", "/w/lock")
    assert wait.seen_s >= 5 and wait.rounds >= 100


def test_who_rests_between_or_reads_or_does_it_rarely_is_not() -> None:
    resting = ThreadWait(thread=1, state="S", call="clock_nanosleep", limit_s=0.01)
    assert watch_turns(resting).state != "busy"
    assert watch_turns(GATED, read_bytes=4096).state == "working"
    assert watch_turns(GATED, a_second=5).state == "working"
    assert watch_turns(RUNNING).state == "working"  # never seen at the gate: what it does is not known
