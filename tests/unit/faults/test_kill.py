"""Kind kill: before each step that may leave another state, and nowhere else."""

from __future__ import annotations

from blackstart.faults.kill import Kill, candidates, crash_before
from blackstart.faults.scene import Candidate

from .build import CONFIG, LIBRARY, NOTES, TEMPORARY, atomic_rewrite, calibration, clean, trace


def at(found: list[Candidate]) -> set[tuple[str, str]]:
    points = [c.fault.point for c in found if isinstance(c.fault, Kill)]
    return {(point.call, point.path) for point in points}


def chosen(run: tuple[object, ...], roles: dict[str, str] | None = None) -> list[Candidate]:
    one = clean(run)  # type: ignore[arg-type]
    return list(candidates(one, calibration(roles, one)))


def test_before_each_change_each_output_and_the_end() -> None:
    found = at([c for c in chosen(atomic_rewrite()) if not c.crash])
    assert found == {
        ("openat", TEMPORARY),
        ("write", TEMPORARY),
        ("fsync", TEMPORARY),
        ("close", TEMPORARY),
        ("rename", TEMPORARY),
        ("write", "stdout"),
        ("exit_group", ""),
    }


def test_nothing_before_the_first_change() -> None:
    run = trace(
        ("write", "stdout", {"size": 5}),
        ("read", NOTES),
        ("close", NOTES),
        ("write", NOTES, {"size": 5}),
        ("write", "stdout", {"size": 5}),
        ("exit_group", ""),
    )
    found = [c.fault.point.nth for c in chosen(run) if isinstance(c.fault, Kill) and c.path == "stdout"]
    assert found == [2]


def test_closing_what_nobody_judges_is_no_point() -> None:
    run = trace(("write", NOTES, {"size": 5}), ("close", LIBRARY), ("close", "pipe:"), ("close", NOTES))
    assert at(chosen(run)) == {("write", NOTES), ("close", NOTES)}


def test_a_rename_counts_by_its_new_name_too() -> None:
    run = trace(("rename", "$CWD/unknown", {"path2": "/w/notes.json"}))
    assert at(chosen(run)) == {("rename", "$CWD/unknown")}


def test_a_program_that_only_reads_cannot_be_killed_in_a_telling_place() -> None:
    run = trace(("openat", CONFIG), ("read", CONFIG), ("close", CONFIG), ("write", "stdout"), ("exit_group", ""))
    assert chosen(run) == []


def test_recovery_is_killed_where_the_run_was() -> None:
    late = [c for c in chosen(atomic_rewrite()) if c.crash]
    assert at(late) == {("openat", TEMPORARY), ("write", TEMPORARY), ("rename", TEMPORARY)}
    for candidate in late:
        assert isinstance(candidate.fault, Kill)
        assert isinstance(candidate.crash, Kill)
        assert candidate.fault.phase == "restart"
        assert candidate.fault.point.operation is None
        assert candidate.crash.point.operation is not None
        assert (candidate.fault.point.call, candidate.fault.point.nth) == (
            candidate.crash.point.call,
            candidate.crash.point.nth,
        )


def test_the_crash_before_another_fault_is_in_mid_work() -> None:
    one = clean(trace(*[("write", NOTES, {"size": 5})] * 5, ("read", CONFIG)))
    crash = crash_before(NOTES, one)
    assert crash is not None
    assert crash.point.nth == 3
    assert crash_before(CONFIG, one) is None


def test_text() -> None:
    one = clean(atomic_rewrite())
    crash = crash_before(TEMPORARY, one)
    assert str(crash) == "kill before write $CWD/notes.tmp @2"
