"""The report's value: every field that a reader needs is filled, and the exit status says what it promises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.campaign import summary
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.execute import Queue, Task
from blackstart.campaign.tally import NOT_FIRED
from blackstart.core.calibration import Calibration, CleanRun, Mask
from blackstart.core.history import Life, Wait
from blackstart.core.verdict import FAILED, NOTE, PASSED, POLICY, UNKNOWN, Verdict, failed, passed
from blackstart.guard import Door
from blackstart.report.model import Report
from blackstart.surface import Surface
from blackstart.trials import Plan

from .build import campaign, candidate, observation, outcome, plan

LOST = failed("state", "lost", "two notes are gone", paths=("$CWD/a",))
UNCLEAN = failed("end", "unclean", "an uncaught OSError in add", label=NOTE)
BEHIND = failed("acknowledged", "lost", "0.5 s of notes", paths=("$CWD/b",), label=POLICY)


def report(made: Campaign, seen: Any = None, **more: Any) -> Report:
    doors = [Door(kind="network", address="", state="contained", why="own loopback")]
    return summary.report_of(made, "2026-01-01T00:00:00+00:00", "namespaces", doors, seen or observation(), **more)


def shown(made: Campaign, *verdicts: Verdict, repeats: int = 2) -> None:
    """A failing trial and its repetitions."""
    queue = Queue()
    made.take(Task(plan(), "trial", number=1), outcome(plan(), passed("fired"), *verdicts), queue)
    tasks = [*queue.urgent, *queue.others]
    for number, task in enumerate(tasks):
        again = verdicts if number < repeats else ()
        made.take(task, outcome(plan(), passed("fired"), *again), queue)


def test_what_may_add_up_and_was_not_tried_for_want_of_time_is_told() -> None:
    made, _, _ = campaign()
    made.tally.postponed["files $CWD/new-*"] = 299.2
    told = report(made).notes[-1]
    assert "files $CWD/new-*" in told and "--budget 5m would do" in told


@pytest.mark.parametrize("held_up, told", [(Wait(state="working"), ["how it stops"]), (None, [])])
def test_how_a_service_stops_is_not_covered_where_it_never_ends_on_term(held_up: Wait | None, told: list[str]) -> None:
    seen = observation()
    clean = CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(held_up=held_up))
    seen.calibration = msgspec.structs.replace(seen.calibration, chain=(clean,))
    made, _, _ = campaign()
    assert [one.what for one in report(made, seen).uncovered] == told


def test_files_that_share_a_masked_name_are_one_thing_that_is_not_covered() -> None:
    hopeless = frozenset(("$CWD/new/*_host", "$CWD/new/*_host (2)", "$CWD/new/*_host (3)", "$CWD/a.txt", "$CWD/b (2)"))
    seen = observation()
    seen.calibration = msgspec.structs.replace(seen.calibration, mask=Mask(hopeless=hopeless))
    made, _, _ = campaign()
    told = {one.what: one.why for one in report(made, seen).uncovered}
    assert told.keys() == {"$CWD/a.txt", "$CWD/b (2)", "$CWD/new/*_host"}
    assert "cannot be masked" in told["$CWD/a.txt"] and "cannot be masked" in told["$CWD/b (2)"]
    assert "which is which cannot be told" in told["$CWD/new/*_host"]


def counted(made: Campaign, **counts: int) -> None:
    made.tally.counts["kill"] = {name.replace("_", " "): count for name, count in counts.items()}
    made.tally.chosen = sum(counts.values())


@pytest.mark.parametrize(
    ("counts", "only", "interrupted", "status"),
    [
        ({"passed": 3}, (), False, 0),
        ({"passed": 3, "unknown": 2}, (), False, 0),
        ({"passed": 3, "unknown": 3}, (), False, 0),
        ({"passed": 3, "unknown": 4}, (), False, 3),
        ({"passed": 3, "unknown": 2, "not_fired": 2}, (), False, 3),
        ({"unknown": 3}, (), False, 3),
        ({"not_fired": 3}, (), False, 3),
        ({"passed": 3}, ("kill",), False, 0),
        ({"passed": 3}, ("db",), False, 3),
        ({"passed": 3}, ("kill", "db"), False, 3),
        ({"passed": 3}, (), True, 130),
    ],
)
def test_exit_status_without_findings(
    counts: dict[str, int], only: tuple[str, ...], interrupted: bool, status: int
) -> None:
    made, _, _ = campaign(only=only)
    counted(made, **counts)
    made.tally.is_interrupted = interrupted
    assert report(made).exit_status == status


@pytest.mark.parametrize(
    ("counts", "only", "why"),
    [
        ({}, (), "nothing was seen that a fault could break"),
        ({"unknown": 2}, (), "no trial could be judged"),
        ({"passed": 3}, ("db", "kill"), "no trial of kind db was done"),
        ({"unknown": 3}, ("kill",), "no trial could be judged"),
        ({"passed": 2, "unknown": 5, "not_fired": 1}, (), "6 of 8 trials (75%) could not be judged; the notes say why"),
        ({"passed": 3}, (), ""),
    ],
)
def test_a_run_that_decides_nothing_says_why(counts: dict[str, int], only: tuple[str, ...], why: str) -> None:
    made, _, _ = campaign(only=only)
    counted(made, **counts)
    assert report(made).undecided == why


@pytest.mark.parametrize(
    ("ready", "workload", "step"), [("", "", "give it arg"), ("tcp:1", "", "--workload"), ("tcp:1", "w", "give it arg")]
)
def test_a_program_with_nothing_to_break_is_told_what_it_lacks(ready: str, workload: str, step: str) -> None:
    made, _, _ = campaign(ready=ready, workload=workload)
    (note,) = [note for note in report(made).notes if "no file and no peer" in note]
    assert step in note
    counted(made, passed=1)
    assert not [note for note in report(made).notes if "no file and no peer" in note]


@pytest.mark.parametrize(("verdict", "status"), [(LOST, 1), (UNCLEAN, 0), (BEHIND, 0)])
def test_only_defects_fail_a_run(verdict: Verdict, status: int) -> None:
    made, _, _ = campaign()
    shown(made, verdict)
    made.tally.counts["kill"][PASSED] = 1
    found = report(made)
    assert len(found.findings) == 1
    assert found.exit_status == status


def test_an_interrupted_run_says_so_even_with_findings() -> None:
    made, _, _ = campaign()
    shown(made, LOST)
    made.tally.is_interrupted = True
    assert report(made).exit_status == 130
    assert len(report(made).findings) == 1


def test_a_finding_has_every_field_and_its_plan_can_be_replayed() -> None:
    made, clock, _ = campaign(json="out/report.json")
    clock.sleep(4.5)
    shown(made, LOST)
    found = report(made).findings[0]
    assert found.id == f"lost-{found.fingerprint.partition('-')[2][:8]}"
    assert (found.severity, found.label, found.consequence, found.kind) == ("critical", "defect", "lost", "kill")
    assert found.fault == "kill before write $CWD/a @1"
    assert "write $CWD/a" in found.where
    assert found.evidence == ("two notes are gone",)
    assert found.paths == ("$CWD/a",)
    assert found.reproduced == "2 of 2"
    assert found.replay == f"blackstart replay 'out/report.json#{found.id}'"
    assert (found.found_s, found.trials) == (4.5, 1)
    assert found.advice
    assert msgspec.convert(found.plan, Plan) == plan()


def test_without_a_report_file_a_finding_is_replayed_from_the_store() -> None:
    for where in ("", "-"):
        made, _, _ = campaign(json=where)
        shown(made, LOST)
        found = report(made).findings[0]
        assert found.replay == f"blackstart replay {found.id}"


def test_what_was_seen_once_is_said_to_be_unproven() -> None:
    made, _, _ = campaign()
    shown(made, LOST, repeats=0)
    found = report(made)
    assert found.findings == ()
    assert [(one.what, "seen once" in one.why) for one in found.uncovered] == [("kill before write $CWD/a @1", True)]


def test_a_note_that_did_not_reproduce_is_not_worth_a_word() -> None:
    made, _, _ = campaign()
    shown(made, UNCLEAN, repeats=0)
    assert (report(made).findings, report(made).uncovered, report(made).notes) == ((), (), ())


def test_a_note_that_there_was_no_time_to_repeat_is_said_to_be_one() -> None:
    made, _, _ = campaign()
    queue = Queue()
    made.take(Task(plan(), "trial", number=1), outcome(plan(), passed("fired"), UNCLEAN), queue)
    assert len(queue.others) == 2
    assert (report(made).findings, report(made).uncovered) == ((), ())
    assert report(made).notes == (
        "seen once, with no time to repeat it: kill before write $CWD/a @1: an uncaught OSError in add",
    )


def test_what_an_oracle_found_before_it_was_muted_is_withdrawn() -> None:
    made, _, _ = campaign()
    shown(made, LOST)
    assert len(report(made).findings) == 1
    made.null(outcome(plan(), LOST))
    found = report(made)
    assert found.findings == ()
    assert [one.what for one in found.muted] == ["state"]
    assert any("muted" in one.why for one in found.uncovered)


def test_trials_are_counted_by_kind_and_outcome() -> None:
    made, _, _ = campaign()
    made.tally.counts = {"kill": {PASSED: 4, FAILED: 1}, "errno": {UNKNOWN: 2, NOT_FIRED: 3}}
    trials = report(made).trials
    assert [(k.kind, k.passed, k.failed, k.unknown, k.not_fired) for k in trials.kinds] == [
        ("errno", 0, 0, 2, 3),
        ("kill", 4, 1, 0, 0),
    ]
    assert trials.total == 10
    assert trials.cut == ()


@pytest.mark.parametrize(
    ("options", "interrupted", "why"),
    [({}, False, "budget"), ({}, True, "interrupted"), ({"trials": 3}, False, "--trials 3")],
)
def test_what_was_cut_is_said_with_its_reason(options: dict[str, int], interrupted: bool, why: str) -> None:
    made, _, _ = campaign(**options)
    made.tally.cut, made.tally.is_interrupted = 7, interrupted
    (cut,) = report(made).trials.cut
    assert cut.count == 7
    assert why in cut.why


@pytest.mark.parametrize(
    ("done", "said"), [(20, " (--budget 11m would do about all)"), (9, " (--budget 4m would do more)")]
)
def test_what_was_cut_names_a_budget_that_would_do(done: int, said: str) -> None:
    made, _, _ = campaign()
    made.tally.counts = {"kill": {"passed": done}}
    made.tally.chosen, made.tally.calibration_s = 320, 20.0
    made.tally.close(60.0)  # 2 s for each of 20 trials
    (cut,) = report(made).trials.cut
    assert (cut.count, cut.why) == (320 - done, f"the budget was spent{said}")


def test_a_kind_that_was_asked_for_and_had_no_time_says_so() -> None:
    made, _, _ = campaign(only=("db", "kill"), budget_s=50.0)
    made.tally.counts = {"kill": {"passed": 9}}
    made.tally.chosen = 12
    made.tally.close(50.0)
    why = "no trial of kind db was done: the budget was spent (--budget 2m would do more)"
    assert report(made).undecided == why
    made.tally.counts = {"kill": {"passed": 9}, "db": {"unknown": 1}}
    assert report(made).undecided == "no trial of kind db could be judged"


def test_a_plan_shows_what_would_be_done() -> None:
    made, _, _ = campaign()
    found = report(made, mode="plan", planned=[candidate()])
    assert (found.mode, found.exit_status) == ("plan", 0)
    assert [(one.kind, one.fault, one.path, one.phase) for one in found.trials.planned] == [
        ("kill", "kill before write $CWD/a @1 (from S1)", "$CWD/a", "run")
    ]


def test_what_a_run_was_asked_for_is_in_the_report_for_a_replay_elsewhere() -> None:
    made, _, _ = campaign(seed=7, check="cat notes", state=("data",), json="r.json")
    found = report(made, run="12")
    assert (found.seed, found.run, found.command, found.cwd, found.isolation) == (7, "12", ("x",), "/w", "namespaces")
    assert found.options["check"] == "cat notes"
    assert not {"command", "json"} & set(found.options)
    assert found.schema


def test_calibration_says_what_is_not_judged() -> None:
    mask = Mask(
        names=(("^/w", "$CWD"), (r"run-\d+", "run-*")), leaves={"$CWD/a": ("/time",)},
        lines={"stdout": ("took (.*) s",)}, hopeless=frozenset({"$CWD/noise"}),
    )  # fmt: skip
    calibration = Calibration(mask=mask, slowest_s=1.5, has_check=True, write_behind="0.2 s")
    made, _, _ = campaign()
    made.tally.nulls, made.tally.calibration_s = 10, 3.5
    found = report(made, observation(calibration))
    assert found.calibration.masked == ("run-*", "$CWD/a: /time", "stdout: took * s")
    assert (found.calibration.clean_runs, found.calibration.null_trials) == (9, 10)
    assert (found.calibration.slowest_s, found.calibration.elapsed_s) == (1.5, 3.5)
    assert (found.calibration.has_check, found.calibration.write_behind) == (True, "0.2 s")
    assert [one.what for one in found.uncovered] == ["$CWD/noise"]
    assert [one.what for one in found.surface.unseen] == ["$CWD/noise"]


def test_doors_and_what_could_not_be_seen() -> None:
    made, _, _ = campaign()
    seen = observation()
    seen.surface = Surface(files={"$CWD/a": "state"}, peers=("socket:inet:1.2.3.4:80",), uncovered={"io_uring": "no"})
    seen.notes.append("a note of the observation")
    found = report(made, seen)
    assert [door.kind for door in found.doors] == ["network"]
    assert [(one.path, one.role) for one in found.surface.files] == [("$CWD/a", "state")]
    assert found.surface.peers == ("socket:inet:1.2.3.4:80",)
    assert [one.what for one in found.uncovered] == ["io_uring"]
    assert "a note of the observation" in found.notes


def test_the_commonest_reasons_come_first_with_their_count() -> None:
    made, _, _ = campaign()
    made.tally.unknown = {"seldom": 1, "often": 5}
    assert report(made).notes == ("often (5 trials)", "seldom")


def test_faults_that_did_not_fire_for_one_reason_are_one_note() -> None:
    made, _, _ = campaign()
    made.tally.unknown = {f"kill {n} did not fire: its place was reached 0 times": 2 for n in range(3)}
    made.tally.unknown["the disk did not fire: nothing needed room"] = 1
    assert report(made).notes == (
        "kill 0 did not fire: its place was reached 0 times; likewise 2 more (6 trials)",
        "the disk did not fire: nothing needed room",
    )
