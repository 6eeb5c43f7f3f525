"""From failing trials to confirmed causes: repetition, muting, the budget, interruption. No process is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blackstart.campaign import campaign as module
from blackstart.campaign.campaign import NULLS, NULLS_MIN, Campaign
from blackstart.campaign.execute import Queue, Task
from blackstart.campaign.summary import finding_of
from blackstart.campaign.tally import NOT_FIRED
from blackstart.campaign.worker import Outcome
from blackstart.core.calibration import Calibration
from blackstart.core.errors import Undecided
from blackstart.core.history import DEADLINE, End, Run, Wait
from blackstart.core.verdict import DEFECT, FAILED, NOTE, PASSED, POLICY, UNKNOWN, Verdict, failed, passed, unknown
from blackstart.faults import Candidate
from blackstart.trials import Plan

from .build import (
    FakeExecutor,
    Remembering,
    as_workers,
    campaign,
    candidate,
    history,
    observation,
    outcome,
    plan,
)

LOST = failed("state", "lost", "two notes are gone", paths=("$CWD/a",))
UNCLEAN = failed("end", "unclean", "an uncaught OSError in add", label=NOTE)
STUCK = failed("restart", "stuck", "two restarts in a row fail", paths=("$CWD/a.lock",))
EXPIRES = failed("restart", "stuck", "$CWD/a.lock expires: within 5 s", paths=("$CWD/a.lock",), label=NOTE)
WRITE_BEHIND = failed("acknowledged", "lost", "0.5 s of notes", paths=("$CWD/a",), label=POLICY)


def run(
    answer: Any, candidates: list[Candidate], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Campaign, Remembering, FakeExecutor]:
    """All trials of these candidates, each plan answered by a function or from a list of verdicts."""
    made, _, keep = campaign(**options)
    executor = FakeExecutor(answer)
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(executor))
    made.tally.chosen = len(candidates)
    made.try_all(observation(), None, candidates)  # type: ignore[arg-type]
    return made, keep, executor


def always(*verdicts: Verdict) -> Any:
    return lambda of: outcome(of, passed("fired"), *verdicts)


def sometimes(pattern: str) -> Any:
    """Fails at the letters `x` of the pattern, in the order of the trials."""
    letters: Iterator[str] = iter(pattern)
    return lambda of: outcome(of, passed("fired"), LOST if next(letters, ".") == "x" else passed("state"))


def test_a_failure_is_repeated_at_once_and_then_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made, keep, executor = run(
        lambda of: outcome(of, passed("fired"), LOST) if "/a" in str(of) else outcome(of),
        [candidate("$CWD/a"), candidate("$CWD/b")],
        monkeypatch,
    )
    assert [str(one).split()[3] for one in executor.plans] == ["$CWD/a"] * 3 + ["$CWD/b"]
    assert len(keep.causes) == 1
    known = made.tally.suspicions[keep.causes[0]]
    assert str(known.reproduction) == "2 of 2"
    assert [task.why for task in keep.done_tasks] == ["trial", "repeat", "repeat", "trial"]


@pytest.mark.parametrize(
    ("pattern", "shown", "counts", "starts"),
    [
        ("xxx", True, "2 of 2", 3),
        ("x.....", False, "0 of 5", 6),
        ("xx.xx", True, "3 of 5", 6),
        ("xx.xx.", True, "3 of 5", 6),
        ("x.xxx.", True, "3 of 5", 6),
        ("xx.x..", False, "2 of 5", 6),
        ("xx....", False, "1 of 5", 6),
    ],
)
def test_where_repetitions_disagree_three_more_decide(
    pattern: str, shown: bool, counts: str, starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, keep, executor = run(sometimes(pattern), [candidate()], monkeypatch)
    known = next(iter(made.tally.suspicions.values()))
    assert (known.reproduction.shown, str(known.reproduction), len(executor.plans)) == (shown, counts, starts)
    assert bool(keep.causes) == shown


def test_the_same_repetitions_tell_about_all_causes_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    made, keep, executor = run(always(LOST, UNCLEAN), [candidate()], monkeypatch)
    assert len(executor.plans) == 3
    assert [str(one.reproduction) for one in made.tally.suspicions.values()] == ["2 of 2"] * 2
    assert len(keep.causes) == 1  # the note is no finding that is told


def test_only_the_cause_that_is_in_doubt_is_repeated_further(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(LOST, UNCLEAN), (LOST, UNCLEAN), (UNCLEAN,), (LOST,), (LOST,), ()])
    made, _, executor = run(lambda of: outcome(of, passed("fired"), *next(answers)), [candidate()], monkeypatch)
    assert [str(one.reproduction) for one in made.tally.suspicions.values()] == ["3 of 5", "2 of 2"]
    assert len(executor.plans) == 6


def test_further_trials_of_a_known_cause_are_counted_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, executor = run(always(LOST), [candidate(nth=n) for n in range(1, 6)], monkeypatch)
    assert len(executor.plans) == 5 + 2
    known = next(iter(made.tally.suspicions.values()))
    assert len(known.failures) == 5
    assert len({failure.trial for failure in known.failures}) == 5


def test_a_repetition_may_hurt_another_set_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which files of a program of several threads are hurt besides differs from run to run."""
    hurt = iter([("$CWD/a", "$CWD/b"), ("$CWD/a",), ("$CWD/a", "$CWD/c")])
    answer = lambda of: outcome(of, passed("fired"), failed("state", "lost", paths=next(hurt)))  # noqa: E731
    made, keep, _ = run(answer, [candidate()], monkeypatch)
    assert [str(made.tally.suspicions[cause].reproduction) for cause in keep.causes] == ["2 of 2"]


@pytest.mark.parametrize(
    "again",
    [
        failed("state", "lost", paths=("$CWD/b",)),
        failed("state", "corrupt", paths=("$CWD/a",)),
        failed("readable", "lost", paths=("$CWD/a", "$CWD/b")),
        failed("state", "lost", paths=("$CWD/a", "$CWD/b"), label=POLICY),
    ],
)
def test_a_repetition_that_does_other_harm_is_none(again: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([LOST])
    made, keep, _ = run(lambda of: outcome(of, passed("fired"), next(answers, again)), [candidate()], monkeypatch)
    assert not keep.causes and str(next(iter(made.tally.suspicions.values())).reproduction) == "0 of 5"


def test_notes_wait_until_the_other_trials_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    _, keep, _ = run(always(UNCLEAN), [candidate(nth=n) for n in range(1, 4)], monkeypatch)
    assert [task.why for task in keep.done_tasks] == ["trial"] * 3 + ["repeat"] * 2
    _, keep, _ = run(always(WRITE_BEHIND), [candidate(nth=n) for n in range(1, 4)], monkeypatch)
    assert [task.why for task in keep.done_tasks] == ["trial", "repeat", "repeat", "trial", "trial"]
    assert keep.causes == []


def locked(of: Plan, *, expires: bool) -> Outcome:
    """A lock is in the way; a repetition that waits sees whether it expires."""
    given = outcome(of)
    if not of.late_s:
        return msgspec.structs.replace(given, verdicts=(passed("fired"), STUCK))
    late = msgspec.structs.replace(given.history, late=given.history.runs[0], late_s=of.late_s)
    watched = EXPIRES if expires else msgspec.structs.replace(STUCK, evidence=("20 s later it still does not start",))
    return Outcome(history=late, verdicts=(passed("fired"), watched))


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_repetition_waits_for_a_lock_to_expire_and_then_there_is_a_note(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [candidate(nth=nth) for nth in range(1, 6)]
    made, keep, executor = run(lambda of: locked(of, expires=True), candidates, monkeypatch, jobs=jobs)
    (note,) = made.tally.suspicions.values()
    assert note.label == NOTE and note.reproduction.shown and not keep.causes
    assert len(made.tally.eased) == 1
    assert sum(1 for one in executor.plans if one.late_s) == 1  # nobody else waits
    assert made.unless_known(STUCK).outcome == PASSED  # whatever other fault left that lock
    assert note.plan.late_s  # a replay waits


def test_a_lock_that_does_not_expire_is_a_finding_with_what_the_waiting_repetition_saw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, keep, executor = run(lambda of: locked(of, expires=False), [candidate()], monkeypatch, budget_s=60.0)
    (known,) = made.tally.suspicions.values()
    assert keep.causes and known.label == DEFECT
    assert known.failures[0].verdict.evidence == ("20 s later it still does not start",)
    assert [one.late_s for one in executor.plans] == [0.0, 10.0, 0.0]


def test_every_repetition_waits_where_the_good_file_put_back_did_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that expires is left by a program that ends on our damage; no repetition may find it again."""

    def answer(of: Plan) -> Outcome:
        given = outcome(of)
        again = msgspec.structs.replace(given.history, good_again=given.history.runs[0])
        broken = failed("restart", "corrupt", "it still fails with the good file put back", paths=("$CWD/a",))
        return Outcome(history=again, verdicts=(passed("fired"), passed("restart") if of.late_s else broken))

    made, keep, executor = run(answer, [candidate()], monkeypatch, budget_s=60.0)
    assert [of.late_s for of in executor.plans] == [0.0, *[10.0] * (len(executor.plans) - 1)]
    assert not keep.causes and not any(known.reproduction.shown for known in made.tally.suspicions.values())


def retrying(of: Plan) -> Outcome:
    """A wait that repeats for as long as it is watched, and is judged by how long that was."""
    given = outcome(of)
    wait = Wait(state="repeating", call="nanosleep", rounds=99, seen_s=of.patience.repeat_s)
    end = End(how=DEADLINE, elapsed_s=of.patience.repeat_s + 5, wait=wait)
    seen = msgspec.structs.replace(given.history, runs=(Run(phase="run", end=end),))
    if of.patience.repeat_s < 60:
        return Outcome(history=seen, verdicts=(passed("fired"), unknown("end", "not yet confirmed")))
    label = DEFECT if of.patience.repeat_s >= 150 else NOTE
    return Outcome(history=seen, verdicts=(passed("fired"), failed("end", "hung", "again and again", label=label)))


@pytest.mark.parametrize(("budget_s", "watched"), [(300.0, [155.0]), (100.0, [95.0]), (20.0, [])])
def test_a_wait_that_repeats_is_watched_once_more_for_as_long_as_the_budget_allows(
    budget_s: float, watched: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [candidate(nth=nth) for nth in range(1, 4)]
    made, keep, executor = run(retrying, candidates, monkeypatch, budget_s=budget_s)
    assert [of.patience.repeat_s for of in executor.plans if of.patience.repeat_s > 30] == watched
    assert [known.label for known in made.tally.suspicions.values()] == [DEFECT if w >= 150 else NOTE for w in watched]
    assert all(str(known.reproduction) == "1 of 1" for known in made.tally.suspicions.values())
    assert len(keep.causes) == (watched == [155.0])


def test_once_a_wait_that_repeats_is_known_the_next_trials_wait_less(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [candidate(nth=nth) for nth in range(1, 8)]
    _, keep, _ = run(retrying, candidates, monkeypatch, budget_s=300.0)
    waited = [task.plan.patience.repeat_s for task in keep.plans if task.why == "trial"]
    assert waited[0] == 30.0 and waited[-1] == 5.0 and sorted(waited, reverse=True) == waited


def test_one_more_run_tells_where_exactly_a_native_program_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(of: Plan) -> Outcome:
        given = outcome(of, passed("fired"), LOST)
        (injected,) = given.history.injected
        assert injected.operation is not None
        operation = msgspec.structs.replace(injected.operation, site=("$CWD/notes:save:0",))
        stack = ("notes.c:save:12", "notes.c:main:30") if of.stacks else ()
        injected = msgspec.structs.replace(injected, operation=operation, stack=stack)
        return Outcome(history=msgspec.structs.replace(given.history, injected=(injected,)), verdicts=given.verdicts)

    made, keep, _ = run(answer, [candidate()], monkeypatch)
    assert [task.why for task in keep.done_tasks] == ["trial", "repeat", "repeat", "stack"]
    (known,) = made.tally.suspicions.values()
    assert finding_of(known, made.options).stack == ("notes.c:save:12", "notes.c:main:30")
    assert not known.plan.stacks  # a replay does not stop the program
    assert made.tally.total == 1


def test_a_spent_budget_still_repeats_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock, keep = campaign(budget_s=10.0)
    executor = FakeExecutor(always(LOST))
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(executor))
    done = keep.done

    def later(task: Task, outcome: Outcome) -> None:
        clock.sleep(11)
        done(task, outcome)

    monkeypatch.setattr(keep, "done", later)
    made.tally.chosen = 3
    made.try_all(observation(), None, [candidate(nth=n) for n in (1, 2, 3)])  # type: ignore[arg-type]
    assert [task.why for task in keep.done_tasks] == ["trial", "repeat", "repeat"]
    assert len(keep.causes) == 1
    assert made.tally.cut == 2


def test_a_number_of_trials_is_given_instead_of_a_time() -> None:
    made, clock, _ = campaign(trials=5, budget_s=1.0)
    clock.sleep(1000)
    assert not made.budget.is_spent()


def test_what_was_cut_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = campaign(trials=2)
    found = [candidate(nth=n) for n in range(1, 7)]
    monkeypatch.setattr(module.choose, "candidates", lambda *_, **__: found)
    assert len(made.choose(observation())) == 2
    assert (made.tally.chosen, made.tally.cut) == (6, 4)
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(FakeExecutor(outcome)))
    made.try_all(observation(), None, found[:2])  # type: ignore[arg-type]
    assert (made.tally.total, made.tally.cut) == (2, 4)


def test_one_trial_in_ten_is_a_null_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    made, keep, executor = run(outcome, [candidate(nth=n) for n in range(1, 21)], monkeypatch)
    assert [one.kind for one in executor.plans].count("null") == 2
    assert made.tally.total == 20
    assert made.tally.nulls == 2
    assert len(keep.plans) == 22


def test_what_a_muted_oracle_finds_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, keep = campaign()
    made.null(outcome(plan(), LOST))
    assert "two notes are gone" in made.tally.muted["state"]
    queue = Queue()
    made.take(Task(plan(), "trial"), outcome(plan(), passed("fired"), LOST), queue)
    assert made.tally.counts == {"kill": {UNKNOWN: 1}}
    assert made.tally.suspicions == {}
    assert not queue.urgent
    assert any("muted" in why for why in made.tally.unknown)
    assert keep.causes == []


def test_a_repetition_under_a_muted_oracle_does_not_count() -> None:
    made, _, keep = campaign()
    queue = Queue()
    made.take(Task(plan(), "trial"), outcome(plan(), passed("fired"), LOST), queue)
    made.null(outcome(plan(), LOST))
    for task in list(queue.urgent):
        made.take(task, outcome(plan(), passed("fired"), LOST), queue)
    assert keep.causes == []


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((passed("fired"), passed("state")), PASSED),
        ((passed("fired"), LOST, unknown("end", "?")), FAILED),
        ((passed("fired"), UNCLEAN), PASSED),
        ((passed("fired"), WRITE_BEHIND), PASSED),
        ((unknown("fired", "never reached"),), NOT_FIRED),
        ((passed("fired"), passed("state"), unknown("end", "crashed")), UNKNOWN),
    ],
)
def test_the_outcome_of_a_trial(verdicts: tuple[Verdict, ...], expected: str) -> None:
    made, _, _ = campaign()
    made.take(Task(plan(), "trial"), outcome(plan(), *verdicts), Queue())
    assert made.tally.counts == {"kill": {expected: 1}}


def test_why_nothing_could_be_said_is_counted() -> None:
    made, _, _ = campaign()
    for _ in range(3):
        made.take(Task(plan(), "trial"), outcome(plan(), unknown("fired", "never reached")), Queue())
    assert made.tally.unknown == {"never reached": 3}


def test_ctrl_c_ends_the_trying_and_keeps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(LOST,), (LOST,), (LOST,)])

    def answer(of: Plan) -> Outcome:
        verdicts = next(answers, None)
        if verdicts is None:
            raise KeyboardInterrupt
        return outcome(of, passed("fired"), *verdicts)

    made, keep, _ = run(answer, [candidate(nth=n) for n in range(1, 9)], monkeypatch)
    assert made.tally.is_interrupted
    assert len(keep.causes) == 1
    assert made.tally.cut == 7


def nulls(made: Campaign, executor: FakeExecutor, monkeypatch: pytest.MonkeyPatch) -> Calibration:
    monkeypatch.setattr(module, "workers", lambda shop, jobs: as_workers(executor))
    return made.calibrate_nulls(observation(), None)  # type: ignore[arg-type]


def test_ten_null_trials_from_all_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = campaign()
    executor = FakeExecutor(outcome)
    calibration = nulls(made, executor, monkeypatch)
    assert calibration.nulls == NULLS == len(executor.plans)
    assert {one.start for one in executor.plans} == {"S0", "S1"}
    assert all(one.faults == () and one.kind == "null" for one in executor.plans)
    assert calibration.muted == {}


def test_fewer_null_trials_where_time_is_short_and_never_under_three(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock, _ = campaign(budget_s=30.0)

    def answer(of: Plan) -> Outcome:
        clock.sleep(4)
        return outcome(of)

    assert nulls(made, FakeExecutor(answer), monkeypatch).nulls == NULLS_MIN


def test_an_oracle_that_fails_on_a_null_trial_is_muted(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = campaign()
    calibration = nulls(made, FakeExecutor(always(LOST)), monkeypatch)
    assert set(calibration.muted) == {"state"}


def test_where_calibration_takes_all_the_budget_it_says_how_much_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock, _ = campaign(budget_s=5.0)
    clock.sleep(6)
    with pytest.raises(Undecided, match="more than the budget") as caught:
        nulls(made, FakeExecutor(outcome), monkeypatch)
    assert "--budget 19s" in caught.value.next_step


def test_a_kind_that_was_asked_for_and_is_not_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = campaign(only=("db",))
    monkeypatch.setattr(module.choose, "candidates", lambda *_, **__: [])
    with pytest.raises(Undecided, match="no trial of kind db") as caught:
        made.choose(observation())
    assert (caught.value.exit_status, "--workload" in caught.value.next_step) == (3, False)
    idle = observation()
    idle.bench.service = object()
    with pytest.raises(Undecided, match="no trial of kind db") as caught:
        made.choose(idle)
    assert "--workload" in caught.value.next_step and "leave --only out" in caught.value.next_step


def test_workers_copy_only_the_states_that_trials_start_from() -> None:
    made, _, _ = campaign()
    shop = made.shop(observation(), "namespaces")
    assert set(shop.images) == {"S0", "S1"}
    assert shop.tree == observation().zygote.plan


@settings(max_examples=20, deadline=None)  # other work on the machine must not fail it
@given(st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_the_same_seed_gives_the_same_plans_and_another_one_other_draws(seed: int, number: int) -> None:
    patience = plan().patience
    first, second, third = (campaign(seed=s)[0] for s in (seed, seed, seed + 1))
    plans = [one.plan_of(candidate(), number, patience, True) for one in (first, second, third)]
    assert plans[0] == plans[1]
    assert plans[0].seed != plans[2].seed
    assert plans[0].faults == plans[2].faults


def test_a_fault_in_recovery_comes_after_its_crash() -> None:
    made, _, _ = campaign()
    crash = candidate("$CWD/crash").fault
    late = Candidate(fault=candidate().fault, crash=crash, start="S1", rank=(7,), cause=("x",))
    made_plan = made.plan_of(late, 0, plan().patience, True)
    assert made_plan.faults == (crash, late.fault)


@given(st.lists(st.sampled_from(["pass", "lost", "note", "both", "unfired"]), max_size=12), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_every_trial_is_counted_once_and_every_suspicion_decided(kinds: list[str], jobs: int) -> None:
    table = {
        "pass": (passed("fired"),), "lost": (passed("fired"), LOST), "note": (passed("fired"), UNCLEAN),
        "both": (passed("fired"), LOST, UNCLEAN), "unfired": (unknown("fired", "no"),),
    }  # fmt: skip
    candidates = [candidate(f"$CWD/{kind}{number}") for number, kind in enumerate(kinds)]

    def answer(of: Plan) -> Outcome:
        kind = "".join(c for c in str(of).split("/")[1].split()[0] if c.isalpha()) if of.faults else "pass"
        return outcome(of, *table[kind])

    with pytest.MonkeyPatch.context() as patch:
        made, _, _ = run(answer, candidates, patch, jobs=jobs)
    assert made.tally.total == len(kinds)
    assert made.tally.cut == 0
    for known in made.tally.suspicions.values():
        assert str(known.reproduction) == "2 of 2"
        assert known.asked == len(known.repeats)


def test_histories_that_fail_are_kept_with_their_trial() -> None:
    made, _, _ = campaign()
    made.take(Task(plan(), "trial", number=17), outcome(plan(), passed("fired"), LOST), Queue())
    known = next(iter(made.tally.suspicions.values()))
    assert known.failures[0].trial == "17"
    assert known.failures[0].history == history(plan())
