"""`acknowledged`: bad and good twins of one history."""

from __future__ import annotations

from blackstart.core.calibration import Acknowledgement, Calibration
from blackstart.core.history import Reset
from blackstart.core.verdict import FAILED, PASSED, POLICY, Verdict
from blackstart.oracles import acknowledged
from tests.unit.oracles.build import NOTES, calibration, clean, file, killed, notes, refused, rerun

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
