"""Failing trials become findings: one per cause, with a fingerprint that survives edits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.core.history import EXITED, KILLED, STOPPED, Act, Cut, End, History, Injected, Life, Run
from blackstart.core.trace import Operation
from blackstart.core.verdict import (
    CHECK_ANSWERS,
    CONSEQUENCES,
    DEFECT,
    EACH_WHOLE,
    ENDED_WELL,
    GONE_AND,
    GONE_WHOLE,
    NOTE,
    POLICY,
    READ_BY_OTHERS,
    SAYS_SO,
    Verdict,
    failed,
    passed,
)
from blackstart.findings import Failure, cause_of, group, is_same, reproduction, severity, where
from blackstart.findings.advice import MOVED, PRIVATE, TOGETHER, TWICE, UNCHECKED, advice, power_advice
from blackstart.findings.fingerprint import context

SAVE = ("/usr/lib/python3.11/json/__init__.py:dump:179", "/w/notes.py:save:12", "/w/notes.py:<module>:30")


def failure(
    verdict: Verdict | None = None,
    *,
    kind: str = "errno",
    fault: str = "write @1 fails with EIO",
    call: str = "write",
    masked: str = "$CWD/notes.json",
    site: tuple[str, ...] = SAVE,
    trial: str = "t1",
    restart: int | None = 0,
) -> Failure:
    operation = Operation(index=3, call=call, path=masked.replace("$CWD", "/w"), masked=masked, site=site)
    runs = [Run(phase="run", end=End(how=KILLED))]
    if restart is not None:
        runs.append(Run(phase="restart", end=End(how=EXITED, code=restart)))
    injected = (Injected(fault=fault, kind=kind, fired=1, operation=operation),)
    verdict = verdict or failed("state", "lost", "notes are gone", paths=["$CWD/notes.json"])
    return Failure(
        history=History(start="S1", kind=kind, injected=injected, runs=tuple(runs)), verdict=verdict, trial=trial
    )


def test_errno_hit_count_and_line_do_not_split_a_cause() -> None:
    moved = tuple(frame.rsplit(":", 1)[0] + ":999" for frame in SAVE)
    (finding,) = group(
        [
            failure(trial="t1"),
            failure(trial="t2", fault="write @2 fails with ENOSPC", site=moved),
            failure(trial="t3", fault="fsync @1 fails with EIO", call="fsync"),
        ]
    )
    assert finding.trials == ("t1", "t2", "t3") and len(finding.faults) == 3
    assert finding.where == "write $CWD/notes.json in save (notes.py)"
    assert finding.severity == "critical" and "rename it over" in finding.advice


def test_kind_consequence_file_and_function_split_causes() -> None:
    base = cause_of(failure())
    other = failed("state", "corrupt", "", paths=["$CWD/notes.json"])
    elsewhere = failed("state", "lost", "", paths=["$CWD/other.json"])
    assert len({base, cause_of(failure(kind="kill")), cause_of(failure(other)), cause_of(failure(elsewhere))}) == 4
    assert cause_of(failure(site=("/w/notes.py:load:3",))) != base


def test_without_frames_the_call_stands_for_the_function_but_not_for_kills() -> None:
    assert cause_of(failure(site=())) != cause_of(failure(site=(), call="fsync"))
    assert cause_of(failure(site=(), kind="kill")) == cause_of(failure(site=(), call="fsync", kind="kill"))


def test_fingerprints_carry_their_version_and_survive_another_directory() -> None:
    assert cause_of(failure()).startswith("1-") and len(cause_of(failure())) == 14
    moved = tuple(frame.replace("/w/", "/elsewhere/") for frame in SAVE)
    assert cause_of(failure(site=moved)) == cause_of(failure())


def test_this_fingerprint_never_changes_within_a_version() -> None:
    assert cause_of(failure()) == "1-b498d7698835"


def test_a_hang_or_a_stuck_restart_is_one_cause_wherever_the_fault_fell() -> None:
    hung = failed("end", "hung", "blocked in flock", paths=["$CWD/lock"])
    stuck = failed("restart", "stuck", "two restarts fail", paths=["$CWD/lock"])
    for verdict in (hung, stuck):
        faults = [
            failure(verdict, site=(f"/w/a.py:{name}:1",), call=call) for name, call in (("a", "write"), ("b", "read"))
        ]
        assert len(group(faults)) == 1


def test_what_is_left_in_the_way_is_one_cause_whatever_ended_the_program() -> None:
    stuck = failed("restart", "stuck", "two restarts fail", paths=["$CWD/lock"])
    back = failed("restart", "corrupt", "two restarts fail", paths=["$CWD/lock"])
    by_kind = [[failure(verdict, kind=kind) for kind in ("kill", "signal", "errno")] for verdict in (stuck, back)]
    assert [len(group(failures)) for failures in by_kind] == [1, 3]


def test_who_renames_already_is_told_to_check_what_is_written() -> None:
    texts = ("notes are gone", f"{ENDED_WELL} and said nothing")
    gone = failed("state", "lost", *texts, paths=["$CWD/notes.json"])
    assert group([failure(gone, masked="$CWD/notes.new")])[0].advice.startswith("Check the result of every write")
    assert group([failure(gone)])[0].advice.startswith("Write the new content to a temporary file")
    told = failed("state", "lost", "it is empty", f"{ENDED_WELL}, though not without a message",
                  paths=["$CWD/notes.json"])  # fmt: skip
    assert group([failure(told, kind="kill-one", masked="$CWD/notes.new")])[0].advice.startswith("Check the result")
    honest = failed("state", "lost", "it is empty", paths=["$CWD/notes.json"])
    assert not group([failure(honest, masked="$CWD/notes.new")])[0].advice.startswith("Check the result")


def test_a_file_that_cannot_be_opened_to_be_written_into_is_one_that_cannot_be_read() -> None:
    opening = failure(call="openat")
    (into,), (anew,) = (group([_with_flags(opening, flags)]) for flags in (0o2, 0o1002))
    assert "cannot be read" in into.advice and "cannot be read" not in anew.advice


def _with_flags(given: Failure, flags: int) -> Failure:
    (injected,) = given.history.injected
    assert injected.operation is not None
    operation = msgspec.structs.replace(injected.operation, flags=flags)
    injected = msgspec.structs.replace(injected, operation=operation)
    return msgspec.structs.replace(given, history=msgspec.structs.replace(given.history, injected=(injected,)))


def test_damage_that_is_written_over_has_advice_of_its_own() -> None:
    over = failed("state", "silent", "it was replaced", paths=["$CWD/notes.json"])
    advised = group([failure(over, kind="file")])[0].advice
    assert "before anything is written over it" in advised and "instead of ending" not in advised


def test_links_and_files_that_belong_together_have_advice_of_their_own() -> None:
    gone = failed("end", "lost", "it is missing", paths=["$CWD/current"])
    assert "rename it over the old one" in group([failure(gone, call="symlinkat")])[0].advice
    assert group([failure(gone, call="symlinkat")])[0].advice.startswith("Make the new link")
    text = f"{CHECK_ANSWERS} sum 191 after the restart, and sum 200 after each clean run"
    both, one = (failed("state", "lost", text, paths=paths) for paths in (["$CWD/a", "$CWD/b"], ["$CWD/a"]))
    assert group([failure(both, kind="kill")])[0].advice.startswith("Keep in one file")
    assert not group([failure(one, kind="kill")])[0].advice.startswith("Keep in one file")


def test_a_repetition_is_one_of_the_same_cause_or_the_same_harm_to_one_of_its_files() -> None:
    def lost(*paths: str, consequence: str = "lost", label: str = DEFECT) -> Failure:
        return failure(failed("state", consequence, "gone", paths=paths, label=label))

    known = lost("$CWD/a", "$CWD/b")
    assert is_same(lost("$CWD/b", "$CWD/a"), known), "the same cause"
    assert is_same(lost("$CWD/b", "$CWD/c"), known), "one of its files"
    assert not is_same(lost("$CWD/c"), known), "another file"
    assert not is_same(lost("$CWD/b", consequence="corrupt"), known), "another harm"
    assert not is_same(lost("$CWD/b", label=NOTE), known), "a note is no defect"


@pytest.mark.parametrize(("oracle", "told"), [("together", TOGETHER), ("twice", TWICE)])
def test_what_only_a_check_can_tell_has_advice_of_its_own(oracle: str, told: str) -> None:
    noted = failed(oracle, "corrupt", "after the restart it is not as it was", paths=["$CWD/a"], label=NOTE)
    assert group([failure(noted, kind="kill")])[0].advice == told


def test_what_others_may_read_is_to_be_made_with_its_mode() -> None:
    shown = failed("left", "leaked", f"$CWD/key.new{READ_BY_OTHERS} (mode 644)", paths=["$CWD/key.new"])
    assert group([failure(shown, kind="kill")])[0].advice == PRIVATE


def test_content_that_blocks_the_start_is_no_lock() -> None:
    path = "$CWD/checkpoint.json"
    stuck = failed("restart", "stuck", "two restarts fail", f"it starts again once {path} is removed", paths=[path])
    itself = failure(stuck, masked=path)
    assert "hold a lock with flock" in group([itself])[0].advice
    kept = msgspec.structs.replace(itself, kept=frozenset({path}))
    assert group([kept])[0].advice.startswith("Write the new content to a temporary file")
    renamed = failure(stuck, masked="$CWD/checkpoint.tmp")
    ended = msgspec.structs.replace(renamed.history, runs=(Run(phase="run", end=End(how=EXITED)),))
    assert group([msgspec.structs.replace(renamed, kept=kept.kept, history=ended)])[0].advice == UNCHECKED


def test_what_is_whole_and_only_not_where_it_should_be_is_told_so() -> None:
    moved = failed("restart", "stuck", "two restarts fail", f"$CWD/a{GONE_WHOLE}; it starts again once that is back")
    assert group([failure(moved, kind="kill")])[0].advice == MOVED
    apart = failed("state", "corrupt", "the check fails", f"{EACH_WHOLE}: $CWD/a, $CWD/b", paths=["$CWD/a", "$CWD/b"])
    assert group([failure(apart, kind="kill")])[0].advice == TOGETHER


def test_the_name_of_a_function_may_hold_colons() -> None:
    assert context(("/usr/bin/task:TF2::commit():0",)) == "TF2::commit() (task)"
    assert context(("src/main.rs:book::save::{{closure}}:9",)) == "book::save::{{closure}} (main.rs)"
    assert context(("main:3",)) == "main"


def test_a_restart_that_fails_for_no_known_file_is_told_by_what_it_says() -> None:
    def fails(text: str) -> Verdict:
        return failed("restart", "corrupt", f"two restarts fail, saying: {text}")

    one, other = failure(fails("pid 17 has the lock; none of 1 resets")), failure(fails("pid 94 has the lock"))
    assert cause_of(one) == cause_of(other) != cause_of(failure(fails("no such table")))


def test_a_note_is_told_by_exception_and_function_whatever_the_fault() -> None:
    note = failed("end", "unclean", "an uncaught OSError in save (notes.py): no space", label=NOTE)
    (finding,) = group([failure(note), failure(note, kind="kill", call="read", masked="$CWD/x")])
    assert (finding.severity, finding.label) == ("low", NOTE)


def test_verdicts_that_did_not_fail_are_left_out() -> None:
    assert group([failure(passed("state"))]) == ()


@pytest.mark.parametrize("consequence", CONSEQUENCES)
def test_every_consequence_has_a_severity_and_advice(consequence: str) -> None:
    assert severity(consequence) in ("critical", "major", "minor")
    assert severity(consequence, POLICY) == severity(consequence, NOTE) == "low"
    for kind in ("errno", "kill", "file", "db"):
        for label in (DEFECT, POLICY, NOTE):
            assert advice(consequence, kind, "write", label).endswith(".")


def test_severity_follows_what_happened_to_the_state() -> None:
    assert severity("lost") == severity("corrupt") == "critical"
    assert severity("stuck") == severity("hung") == severity("silent") == "major"
    assert severity("crashed", restarts=True) == "minor" and severity("crashed", restarts=False) == "major"


def test_findings_are_ordered_by_severity_then_by_trials() -> None:
    stuck = failed("restart", "stuck", "", paths=["$CWD/lock"])
    crashed = failed("end", "crashed", "")
    found = group([failure(crashed), failure(stuck, trial="a"), failure(stuck, trial="b"), failure()])
    assert [finding.consequence for finding in found] == ["lost", "stuck", "crashed"]


def test_a_crash_that_does_not_start_again_is_major() -> None:
    crashed = failed("end", "crashed", "")
    assert group([failure(crashed, restart=1)])[0].severity == "major"
    assert group([failure(crashed, restart=None)])[0].severity == "minor"


def test_the_context_is_the_innermost_frame_of_the_program_itself() -> None:
    assert context(SAVE) == "save (notes.py)"
    assert context(SAVE[:1]) == "dump (__init__.py)"
    assert context(("main+0x1f",)) == "main" and context(()) == ""


REPRODUCTIONS: list[tuple[list[bool], bool, int]] = [
    ([], False, 2), ([True], False, 1), ([True, True], True, 0), ([True, False], False, 3),
    ([True, False, True, True], True, 0), ([True, False, False, True, True], True, 0),
    ([True, False, False, True], False, 1), ([False, False], False, 3), ([False, False, False], False, 0),
]  # fmt: skip


@pytest.mark.parametrize(("repeats", "shown", "more"), REPRODUCTIONS)
def test_two_of_two_or_three_of_five(repeats: list[bool], shown: bool, more: int) -> None:
    result: Any = reproduction(repeats)
    assert (result.shown, result.more) == (shown, more)
    assert str(result) == f"{sum(repeats)} of {len(repeats)}"


def test_sorts_of_power_cuts_are_causes_of_their_own_with_their_own_advice() -> None:
    plain = Cut(model="xfs", models=("xfs",), is_real=True, lost_kinds=("data",))
    dropped = Cut(model="fsync-fails", models=("fsync-fails",), is_real=True, lost_kinds=("dropped",), again=True)
    advised = {}
    for cuts in ((plain,), (plain, plain), (dropped,)):
        injected = tuple(Injected(fault="cut", kind="power", fired=1, cut=cut) for cut in cuts)
        history = History(start="S1", kind="power", injected=injected)
        found = Failure(history=history, verdict=failed("state", "corrupt", "torn", paths=["$CWD/notes.json"]))
        advised[cause_of(found)] = group([found])[0].advice
    assert len(advised) == 3
    once, twice, after_failure = advised.values()
    assert "rename it over" in once and "Recovery must be as careful" in twice
    assert "Do not call fsync again" in after_failure


def test_who_could_not_read_is_not_told_how_to_write() -> None:
    silent = failed("answer", "silent", "it gave another answer", paths=["$CWD/notes.json"])
    (read,) = group([failure(silent, call="read")])
    (write,) = group([failure(silent, call="write")])
    assert "cannot be read" in read.advice and "cannot be read" not in write.advice
    (killed,) = group([failure(kind="kill", call="read")])
    assert "rename it over" in killed.advice


def test_who_told_the_failure_is_told_about_the_status_alone() -> None:
    told = failed("end", "unclean", f"{SAYS_SO} something failed, keeps what was there, and ends with 0", label=NOTE)
    (finding,) = group([failure(told)])
    assert finding.severity == "low" and finding.advice.startswith("End with a status other than 0")


def test_who_renames_already_is_told_of_the_fsync_only() -> None:
    unsynced = Cut(model="xfs", models=("xfs",), is_real=True, lost_kinds=("size",), paths=("$CWD/c.tmp",), moved=True)
    for consequence in ("lost", "corrupt"):
        told = power_advice([unsynced], consequence, "defect", ["$CWD/c.json"])
        assert "fsync the temporary file before it is renamed" in told
    in_place = msgspec.structs.replace(unsynced, paths=("$CWD/c.json",), moved=False)
    assert "to a temporary file" in power_advice([in_place], "corrupt", "defect", ["$CWD/c.json"])


def test_only_who_calls_a_failed_fsync_again_is_told_not_to() -> None:
    for again, told in ((True, "Do not call fsync again"), (False, "Take a failed fsync for a failed write")):
        cut = Cut(model="fsync-fails", models=("fsync-fails",), is_real=True, lost_kinds=("dropped",), again=again)
        assert power_advice([cut], "lost", "defect").startswith(told)


@pytest.mark.parametrize("consequence", ["lost", "corrupt"])
def test_who_only_appends_is_not_told_to_rename(consequence: str) -> None:
    hurt = failed("state", consequence, "lines are gone", paths=["$CWD/notes.json"])
    for appended, told in ((frozenset({"$CWD/notes.json"}), "ftruncate"), (frozenset(), "rename it over")):
        (finding,) = group([msgspec.structs.replace(failure(hurt), appended=appended)])
        assert told in finding.advice
    cut = Cut(model="ext4", models=("ext4",), is_real=True, lost_kinds=("size",), paths=("$CWD/notes.json",))
    told = power_advice([cut], consequence, "defect", ["$CWD/notes.json"], appended=True)
    assert "rename" not in told and ("fsync a file after appending" in told) == (consequence == "lost")


def test_only_who_damages_what_it_could_not_read_is_told_of_that() -> None:
    hurt = failed("state", "lost", "notes are gone", paths=["$CWD/notes.json"])
    for masked, told in (("$CWD/notes.json", True), ("$CWD/source.txt", False)):
        (finding,) = group([failure(hurt, call="read", masked=masked)])
        assert ("any error but ENOENT" in finding.advice) == told


def test_who_removes_what_a_file_was_made_from_too_early_is_told_so() -> None:
    for text, told in ((f"$CWD/a{GONE_AND}$CWD/a.gz is empty", True), ("$CWD/a.gz is empty", False)):
        (finding,) = group([failure(failed("state", "lost", text, paths=["$CWD/a.gz"]))])
        assert finding.advice.startswith("Remove a file only when") == told


@pytest.mark.parametrize(
    ("call", "gaps", "told"),
    [("rename", "$CWD/notes.json", True), ("rename", "$CWD/other", False), ("write", "$CWD/notes.json", False)],
)
@pytest.mark.parametrize("kind", ["kill", "errno"])
def test_who_removes_the_old_file_before_the_rename_is_told_so(kind: str, call: str, gaps: str, told: bool) -> None:
    one = failure(kind=kind, call=call, masked="$CWD/new")
    (finding,) = group([msgspec.structs.replace(one, gaps=frozenset((gaps,)))])
    assert ("without removing that or moving it away" in finding.advice) == told


def test_where_the_check_of_a_service_names_no_file_the_one_that_it_was_broken_at_tells() -> None:
    for consequence, call, path2, told in (
        ("lost", "renameat", "/w/notes.json", "without removing that or moving it away"),
        ("lost", "renameat", "/w/other.json", "temporary file in the same directory"),
        ("corrupt", "write", "", "cut the file back"),
    ):
        one = failure(failed("acknowledged", consequence, "1 was acknowledged"), kind="kill", call=call)
        ((injected,), operation) = one.history.injected, one.operation
        assert operation is not None
        broken = msgspec.structs.replace(injected, operation=msgspec.structs.replace(operation, path2=path2))
        history = msgspec.structs.replace(one.history, injected=(broken,))
        known = {"gaps": frozenset(("$CWD/notes.json",)), "appended": frozenset(("$CWD/notes.json",) * (not path2))}
        (finding,) = group([msgspec.structs.replace(one, history=history, **known)])
        assert told in finding.advice


@pytest.mark.parametrize(("kind", "call", "gaps", "told"), [
    ("kill", "rename", "$CWD/a.zip", "Rename the new file"), ("kill", "rename", "", "Keep in one file"),
    ("errno", "read", "", "Tell a file that cannot be read"), ("kill", "write", "$CWD/a.zip", "Keep in one file"),
])  # fmt: skip
def test_what_a_failing_check_of_whole_files_may_come_from(kind: str, call: str, gaps: str, told: str) -> None:
    whole = "each of these files is whole by itself: $CWD/a.zip, $CWD/b; so it may be that they no longer fit together"
    verdict = failed("state", "corrupt", "the check fails", whole, paths=["$CWD/a.zip", "$CWD/b"])
    one = failure(verdict, kind=kind, call=call, masked="$CWD/a.zip" if call == "read" else "$CWD/new")
    (finding,) = group([msgspec.structs.replace(one, gaps=frozenset((gaps,)))])
    assert finding.advice.startswith(told)


def test_who_uses_what_could_not_be_read_is_told_so() -> None:
    (elsewhere,) = group([failure(call="read", masked="$CWD/input")])
    assert elsewhere.advice.startswith("Make sure that reading has succeeded")
    (itself,) = group([failure(call="read")])
    assert itself.advice.startswith("Tell a file that cannot be read")


def test_who_renames_after_a_write_that_failed_is_told_to_check_it() -> None:
    one = failure(masked="$CWD/new")
    runs = (Run(phase="run", end=End(how=EXITED)), *one.history.runs[1:])
    for gaps in (frozenset(("$CWD/notes.json",)), frozenset[str]()):
        ended = msgspec.structs.replace(one.history, runs=runs)
        (finding,) = group([msgspec.structs.replace(one, history=ended, gaps=gaps)])
        assert finding.advice.startswith("Check the result of every write") == bool(gaps)


def test_who_takes_a_task_away_before_it_is_done_is_told_so() -> None:
    for takes in (True, False):
        (finding,) = group([msgspec.structs.replace(failure(kind="kill"), takes=takes)])
        assert finding.advice.startswith("Take a task away") == takes


@pytest.mark.parametrize(("gone", "told"), [("b", True), ("b, c …", True), ("a, b", False)])
def test_a_service_that_answers_as_if_nothing_had_failed_is_told_so(gone: str, told: bool) -> None:
    lost = failed("acknowledged", "lost", f"3 were acknowledged; after the restart 1 is gone: {gone}")
    acts = (Act(how="ok", id="a", at_s=0.2), Act(how="ok", id="b", at_s=0.4), Act(how="ok", id="c", at_s=0.5))
    run = Run(phase="run", end=End(how=STOPPED), life=Life(ready_s=0.1, fired_s=0.3, acts=acts))
    for call in ("pread64", "write"):
        one = failure(lost, call=call)
        (finding,) = group([msgspec.structs.replace(one, history=msgspec.structs.replace(one.history, runs=(run,)))])
        assert finding.advice.startswith("Answer that it is done only where it is") == told


def test_the_function_of_a_native_program_is_near_until_its_stack_was_read() -> None:
    guess = ("/usr/lib/libacl.so.1:acl_get_file:0", "/usr/bin/task:_ZN4File5closeEv:0")
    found = failure(site=guess)
    assert where(found) == "write $CWD/notes.json near File::close (task)"
    assert where(found, ("/w/file.cpp:save:12",)) == "write $CWD/notes.json in save (file.cpp)"
    assert where(failure(site=guess[:1])) == "write $CWD/notes.json"  # of a library: nothing is known
    assert where(failure()) == "write $CWD/notes.json in save (notes.py)"


def test_what_was_taken_back_and_half_a_config_have_advice_of_their_own() -> None:
    taken_back = failed("acknowledged", "lost", f"{SAYS_SO} it is done before it is", paths=["$CWD/a"], label=NOTE)
    (early,) = group([failure(taken_back)])
    assert early.severity == "low" and early.advice.startswith("Say that it is done")
    (config,) = group(
        [failure(failed("restart", "corrupt", "it still fails", paths=["$CWD/a"], label=NOTE), kind="file")]
    )
    assert config.advice.startswith("Make sure that a config is whole")
    (left,) = group([failure(failed("left", "leaked", "killed, it leaves one more", paths=["$CWD/a"], label=NOTE))])
    assert left.severity == "low" and "while being killed" in left.advice
