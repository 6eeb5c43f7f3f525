"""Power cuts judged: the answers of the check, and which failures are defects, policy or notes."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, KILLED, Cut, End, History, Injected
from blackstart.core.reading import Reading
from blackstart.core.trace import Operation
from blackstart.core.verdict import DEFECT, FAILED, NOTE, POLICY, Verdict
from blackstart.oracles import judge_all
from blackstart.oracles.power import in_words

from .build import NOTES, calibration, clean, file, notes, run, write

REAL = Cut(model="xfs", models=("xfs", "posix"), never=("ext4",), is_real=True, after=write(), before=write(),
           missing=("write $CWD/notes.json @1",), lost_kinds=("data",), steps=1, paths=(NOTES,))  # fmt: skip


def yardstick() -> Calibration:
    steps = ((0, "0\none"), (0, "0\none\ntwo"), (1, "0\none\ntwo"))
    return calibration(chain=(clean(0), clean(1, check_steps=steps, check="0\none\ntwo"), clean(2)), has_check=True)


def cut_down(cut: Cut, answer: str, *, said: bool = True, restarted: object = None) -> History:
    readings = (Reading(name="check", value=answer),)
    stdout = b"saved note 2\n" if said else b""
    first = run("run", {NOTES: notes(1)}, end=End(how=KILLED), stdout=stdout, readings=readings)
    after = run("restart", {NOTES: restarted or notes(3)}, readings=(Reading(name="check", value="0\none\ntwo"),))
    injected = Injected(fault="power cut", kind="power", hits=1, fired=1, cut=cut)
    return History(start="S1", kind="power", injected=(injected,), runs=(first, after))


def failures(history: History) -> list[Verdict]:
    return [verdict for verdict in judge_all(history, yardstick()) if verdict.outcome == FAILED]


def test_an_answer_of_the_clean_run_passes() -> None:
    assert failures(cut_down(REAL, "0\none\ntwo")) == []
    assert failures(cut_down(REAL, "0\none", said=False)) == [], "nothing was acknowledged yet"


def test_an_answer_from_before_the_acknowledgement_is_lost_and_says_what_was_missing() -> None:
    (verdict,) = failures(cut_down(REAL, "0\none"))
    assert (verdict.consequence, verdict.label, verdict.paths) == ("lost", DEFECT, (NOTES,))
    text = "\n".join(verdict.evidence)
    assert "not on the disk when the power came back: write $CWD/notes.json @1" in text
    assert "this can happen under xfs, posix, not under ext4" in text


@pytest.mark.parametrize(
    ("models", "never", "told"),
    [
        (("ext4", "xfs"), ("kill9", "btrfs"), "under ext4, xfs, not under btrfs; a mere kill does not do this"),
        (("ext4",), ("kill9",), "under ext4; a mere kill does not do this, a power cut does"),
        (("kill9", "ext4"), (), "under ext4; a mere kill does it too"),
        (("ext4",), (), "under ext4"),
    ],
)
def test_what_a_kill_does_is_said_in_words(models: tuple[str, ...], never: tuple[str, ...], told: str) -> None:
    said = in_words(Cut(model="ext4", models=models, never=never))[1]
    assert said.startswith(f"this can happen {told}") and "kill9" not in said
    assert "no file system" in in_words(Cut(model="kill9", models=("kill9",)))[1]


def test_a_check_that_fails_and_an_answer_never_seen_are_corrupt() -> None:
    assert [v.consequence for v in failures(cut_down(REAL, "1\ncannot read"))] == ["corrupt"]
    assert [v.consequence for v in failures(cut_down(REAL, "0\nt#o"))] == ["corrupt"]


def test_what_only_posix_allows_is_a_note() -> None:
    cut = msgspec.structs.replace(REAL, models=("posix",), is_real=False)
    assert [v.label for v in failures(cut_down(cut, "0\none"))] == [NOTE]


def test_undoing_only_the_last_name_is_policy_but_never_where_something_is_corrupt() -> None:
    cut = msgspec.structs.replace(REAL, only_last_name=True, lost_kinds=("entry",))
    assert [v.label for v in failures(cut_down(cut, "0\none"))] == [POLICY]
    assert [v.label for v in failures(cut_down(cut, "1\n"))] == [DEFECT]


@pytest.mark.parametrize(("role", "label"), [("lock", POLICY), ("state", DEFECT), ("scratch", DEFECT)])
def test_what_stands_in_a_lock_needs_no_sync(role: str, label: str) -> None:
    cut = msgspec.structs.replace(REAL, unsynced=("$CWD/app.pid",), lost_kinds=("entry",))
    known = yardstick()
    known = msgspec.structs.replace(known, roles={**known.roles, "$CWD/app.pid": role})
    verdicts = [one for one in judge_all(cut_down(cut, "0\none"), known) if one.outcome == FAILED]
    assert [one.label for one in verdicts] == [label]


def test_other_kinds_are_none_of_its_business() -> None:
    history = msgspec.structs.replace(cut_down(REAL, "0\none"), kind="kill")
    assert all(verdict.oracle != "power" for verdict in judge_all(history, yardstick()))


def test_a_second_cut_is_told_as_a_recovery_that_is_not_crash_safe_and_both_must_be_real() -> None:
    first = msgspec.structs.replace(REAL, missing=(), lost_kinds=(), steps=0)
    for second, label in ((REAL, DEFECT), (msgspec.structs.replace(REAL, is_real=False), NOTE)):
        history = cut_down(first, "0\none")
        again = Injected(fault="second", kind="power", hits=1, fired=1, cut=second)
        (verdict,) = failures(msgspec.structs.replace(history, injected=(*history.injected, again)))
        assert verdict.label == label
        assert "recovery itself is not crash-safe: the power went again while it ran" in verdict.evidence


def test_two_calls_that_look_alike_are_told_apart_by_their_numbers() -> None:
    first, second = (Operation(index=nth, call="write", masked="stdout", nth=nth) for nth in (1, 2))
    between = in_words(Cut(model="ext4", models=("ext4",), after=first, before=second))[0]
    assert between == "the cut fell between write stdout @1 and @2"


LINES = "$CWD/lines.txt"


def appended(cut: Cut, *, role: str = "output", code: int = 0) -> list[Verdict]:
    """The power goes while a line is appended to a file, and the next start appends behind what was left of it."""
    texts = [file(b"".join(b"line %d\n" % n for n in range(1, k + 1)), LINES) for k in range(1, 6)]
    opens = write(LINES, flags=0o2001)
    opens = msgspec.structs.replace(opens, call="openat")
    chain = tuple(
        clean(k, files={LINES: texts[k + 1]}, versions={LINES: (texts[k], texts[k + 1])}, trace=(opens,), stdout="",
              acknowledgements=())
        for k in range(3)
    )  # fmt: skip
    known = calibration(chain=chain, roles={LINES: role})
    end = End(how=EXITED, code=code) if code else End(how=KILLED)
    left = file(b"line 1\nline 2\n" + bytes(7) + b"line 3\n", LINES)
    runs = (run("run", {LINES: file(b"line 1\nline 2\n" + bytes(7), LINES)}, end=end), run("restart", {LINES: left}))
    injected = Injected(fault="power cut", kind="power", hits=1, fired=1, cut=cut)
    history = History(start="S1", kind="power", injected=(injected,), runs=runs)
    return [verdict for verdict in judge_all(history, known) if verdict.outcome == FAILED]


def test_zeros_behind_what_was_synced_in_a_file_that_nobody_reads_are_a_note() -> None:
    last, sync = write(LINES), msgspec.structs.replace(write(LINES), call="fsync")
    unsynced = msgspec.structs.replace(REAL, after=last, before=sync, lost_kinds=("data",), paths=(LINES,))
    assert [(v.consequence, v.label) for v in appended(unsynced)] == [("corrupt", NOTE)]
    assert [v.label for v in appended(unsynced, role="state")] == [DEFECT]  # a start reads it, and could cut it off
    told = msgspec.structs.replace(unsynced, after=write("stdout"))
    ended = msgspec.structs.replace(unsynced, before=None)
    assert [v.label for cut in (told, ended) for v in appended(cut)] == [DEFECT, DEFECT]


def test_who_reports_a_sync_that_fails_has_promised_nothing() -> None:
    dropped = msgspec.structs.replace(REAL, before=None, lost_kinds=("dropped",), paths=(LINES,))
    assert [v.label for v in appended(dropped, code=5)] == [NOTE]
    assert [v.label for v in appended(dropped)] == [DEFECT]
