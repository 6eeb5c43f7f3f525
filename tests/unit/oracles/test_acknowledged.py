"""`acknowledged`: bad and good twins of one history."""

from __future__ import annotations

import msgspec

from blackstart.core.calibration import Acknowledgement, Calibration
from blackstart.core.history import EXITED, KILLED, End, Reset
from blackstart.core.reading import FileState, Reading
from blackstart.core.trace import Operation
from blackstart.core.verdict import DEFECT, FAILED, NOTE, PASSED, POLICY, Verdict
from blackstart.oracles import acknowledged
from tests.unit.oracles.build import (
    NOTES,
    calibration,
    clean,
    file,
    history,
    killed,
    notes,
    refused,
    rerun,
    run,
    write,
)

# A run from S0 saves three notes, saying so after each; a re-run saves three more.
STEPS = clean(
    0,
    stdout="saved 1\nsaved 2\nsaved 3\n",
    files={NOTES: notes(3)},
    versions={NOTES: (None, notes(1), notes(2), notes(3))},
    acknowledgements=tuple(Acknowledgement(nth=n, versions={NOTES: n}) for n in (1, 2, 3)),
)
AGAIN = clean(1, files={NOTES: notes(6)}, versions={NOTES: (notes(3), notes(6))})
MEASURED = (rerun(notes(1), notes(4)), rerun(notes(2), notes(5)))


def judge(given: object, **changes: object) -> Verdict:
    yardstick: Calibration = calibration(**{"chain": (STEPS, AGAIN), "boundary_reruns": {"S0": MEASURED}, **changes})
    verdicts = acknowledged.judge(given, yardstick)  # type: ignore[arg-type]
    assert len(verdicts) == 1, verdicts
    return verdicts[0]


def test_an_acknowledged_note_that_is_gone_after_the_restart_is_lost() -> None:
    verdict = judge(killed(file(b""), notes(3), "S0", stdout=b"saved 1\nsaved 2\n"))
    assert (verdict.outcome, verdict.consequence, verdict.paths) == (FAILED, "lost", (NOTES,))
    assert verdict.evidence[0].startswith("2 lines on stdout had got out")


def test_a_backup_says_nothing_of_its_own() -> None:
    """It holds what the file held that was renamed to it, which is judged for itself."""
    list_, states = "$CWD/list", {NOTES: notes(3), "$CWD/list": notes(3)}
    away = Operation(index=1, call="rename", path="/w/list", masked=list_, path2="/w/notes.json")
    chain = tuple(msgspec.structs.replace(one, trace=(away,), files={**states, **one.files}) for one in (STEPS, AGAIN))
    given = killed(file(b""), notes(3), "S0", stdout=b"saved 1\nsaved 2\n")
    for role, outcome in (("state", PASSED), ("scratch", FAILED)):
        assert judge(given, chain=chain, roles={NOTES: "output", list_: role}).outcome == outcome


def test_what_is_there_or_was_never_told_is_not_lost() -> None:
    assert judge(killed(notes(2), notes(5), "S0", stdout=b"saved 1\nsaved 2\n")).outcome == PASSED
    assert judge(killed(notes(3), notes(6), "S0", stdout=b"saved 1\nsaved 2\n")).outcome == PASSED
    assert judge(killed(file(b""), notes(3), "S0")).outcome == PASSED
    assert judge(killed(file(b""), notes(3), "S0", stdout=b"saved 1")).outcome == PASSED  # no whole line


def test_a_lower_acknowledged_version_is_lost_too() -> None:
    assert judge(killed(notes(1), notes(4), "S0", stdout=b"saved 1\nsaved 2\n")).consequence == "lost"
    assert judge(killed(notes(1), notes(4), "S0", stdout=b"saved 1\n")).outcome == PASSED


def test_a_rerun_that_redoes_everything_loses_nothing() -> None:
    resumed = (rerun(notes(1), notes(3)), rerun(notes(2), notes(3)))
    given = killed(notes(2), notes(3), "S0", stdout=b"saved 1\nsaved 2\n")
    assert judge(given, boundary_reruns={"S0": resumed}).outcome == PASSED


def test_where_the_version_was_not_re_run_from_nothing_is_claimed() -> None:
    given = killed(file(b""), notes(3), "S0", stdout=b"saved 1\nsaved 2\n")
    assert judge(given, boundary_reruns={}).outcome == PASSED


def test_other_output_than_in_clean_runs_acknowledges_nothing() -> None:
    given = killed(file(b""), notes(3), "S0", stdout=b"error: cannot save\nsaved 2\n")
    assert judge(given).outcome == PASSED


def test_an_acknowledged_file_that_blocks_the_restart_is_lost() -> None:
    reset = Reset(removed=("/w/notes.json",), helped=True)
    assert judge(refused(file(b'{"no'), "S0", stdout=b"saved 1\n", resets=(reset,))).consequence == "lost"
    other = Reset(removed=("/w/app.lock",), helped=True)
    assert judge(refused(file(b'{"no'), "S0", stdout=b"saved 1\n", resets=(other,))).outcome == PASSED
    assert judge(refused(notes(1), "S0", stdout=b"saved 1\n")).outcome == PASSED
    assert judge(refused(notes(1), "S0", stdout=b"saved 1\nsaved 2\n")).consequence == "lost"


def test_write_behind_is_a_policy() -> None:
    given = killed(file(b""), notes(3), "S0", stdout=b"saved 1\nsaved 2\n")
    verdict = judge(given, write_behind="acknowledgements come up to 2 s before the write")
    assert (verdict.consequence, verdict.label) == ("lost", POLICY)
    assert verdict.evidence[-1].startswith("acknowledgements come")


CHECKED = ((0, "0\none"), (1, "0\none\ntwo"))


def answered(
    crash: str, later: str = "0\none\ntwo", *, steps: object = CHECKED, stdout: bytes = b"saved note 2\n"
) -> Verdict:
    """A kill after which the check was asked before and after the restart."""
    readings = [(Reading(name="check", value=value),) for value in (crash, later)]
    first = run("run", {NOTES: notes(1)}, end=End(how=KILLED), stdout=stdout, readings=readings[0])
    given = history("kill", (first, run("restart", {NOTES: notes(3)}, readings=readings[1])))
    chain = (clean(0), clean(1, check_steps=steps, check="0\none\ntwo"), clean(2))
    return judge(given, chain=chain, has_check=True)


def test_what_the_check_no_longer_answers_before_any_re_run_is_lost() -> None:
    verdict = answered("0\none")
    assert (verdict.consequence, verdict.label, verdict.paths) == ("lost", DEFECT, (NOTES,))
    assert answered("0\none\ntwo").outcome == PASSED
    assert answered("0\none", stdout=b"").outcome == PASSED, "nothing was acknowledged yet"


def test_a_check_that_fails_until_the_program_is_started_again_is_a_note() -> None:
    verdict = answered("1\nhalf a note")
    assert (verdict.consequence, verdict.label) == ("corrupt", NOTE)
    assert answered("1\nhalf a note", "1\nhalf a note").outcome == PASSED, "the state oracle says so"


def test_a_check_that_also_fails_in_clean_runs_is_asked_after_the_restart_only() -> None:
    assert answered("1\nhalf a note", steps=((0, "1\nhalf a note"), *CHECKED)).outcome == PASSED


BEHIND = clean(
    1,
    stdout="begin\nsaved note 12\n",
    versions={NOTES: (notes(11), notes(12))},
    files={NOTES: notes(12)},
    acknowledgements=tuple(Acknowledgement(nth=n, versions={NOTES: 0}, at_s=n / 10) for n in (1, 2)),
    trace=(msgspec.structs.replace(write(), at_s=0.45),),
)


def ended(stdout: bytes, left: FileState) -> Verdict:
    given = killed(left, notes(13), stdout=stdout)
    return judge(given, chain=(clean(0), BEHIND, clean(2, files={NOTES: notes(13)})))


def test_a_line_that_names_what_is_written_later_is_write_behind_once_a_kill_has_shown_it() -> None:
    verdict = ended(b"begin\nsaved note 12\n", notes(11))
    assert (verdict.consequence, verdict.label, verdict.paths) == ("lost", POLICY, (NOTES,))
    assert "'saved note 12' had got out" in verdict.evidence[0] and "250 ms after the line" in verdict.evidence[1]


def test_what_only_announces_or_was_written_in_time_is_no_write_behind() -> None:
    assert ended(b"begin\n", notes(11)).outcome == PASSED, "the line names nothing"
    assert ended(b"begin\nsaved note 12\n", notes(12)).outcome == PASSED, "it is there"
    assert ended(b"", notes(11)).outcome == PASSED


def test_what_a_journal_holds_already_is_not_behind() -> None:
    given = killed(notes(11), notes(13), stdout=b"begin\nsaved note 12\n")
    (first, *others), journal = given.runs, file(b"add note 12\n", "/w/journal")
    first = msgspec.structs.replace(first, image={**first.image, "/w/journal": journal})
    kept = msgspec.structs.replace(given, runs=(first, *others))
    for role, outcome in (("scratch", PASSED), ("log", FAILED)):
        roles = {NOTES: "state", "$CWD/journal": role}
        verdict = judge(kept, chain=(clean(0), BEHIND, clean(2, files={NOTES: notes(13)})), roles=roles)
        assert verdict.outcome == outcome, role


def test_a_line_where_clean_runs_print_none_acknowledges_nothing() -> None:
    silent = clean(0, stdout="", acknowledgements=())
    given = killed(None, notes(1), "S0", stdout=b"\n?\n")
    assert judge(given, chain=(silent, clean(1))).outcome == PASSED


def met_an_error(code: int, stdout: bytes, kept: FileState, restarted: FileState) -> object:
    """A run that met an error itself, and a clean restart."""
    first = run("run", {NOTES: kept}, end=End(how=EXITED, code=code), stdout=stdout, stderr=b"cannot save\n")
    return history("errno", (first, run("restart", {NOTES: restarted})), "S0")


def test_what_is_taken_back_by_an_exit_status_is_a_note() -> None:
    taken_back = judge(met_an_error(1, b"saved 1\nsaved 2\nsaved 3\n", notes(2), notes(5)))
    assert (taken_back.consequence, taken_back.label) == ("lost", NOTE)
    assert "takes that back with an exit status of its own" in taken_back.evidence[0]
    kept_up = judge(met_an_error(0, b"saved 1\nsaved 2\nsaved 3\n", notes(2), notes(5)))
    assert (kept_up.consequence, kept_up.label) == ("lost", DEFECT)


def test_an_error_in_the_next_step_takes_nothing_back() -> None:
    verdict = judge(met_an_error(1, b"saved 1\nsaved 2\n", notes(1), notes(4)))
    assert (verdict.consequence, verdict.label) == ("lost", DEFECT)
