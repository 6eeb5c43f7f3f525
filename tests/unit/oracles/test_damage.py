"""Kinds `file` and `db`: the damage is ours."""

from __future__ import annotations

from typing import Any

from blackstart.core.history import DEADLINE, EXITED, SIGNALED, End, History, Injected, Run, Wait
from blackstart.core.reading import FileState
from blackstart.core.verdict import FAILED, PASSED, UNKNOWN, Verdict
from blackstart.oracles import judge_all
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, notes, run

GARBAGE = file(b"\x00\xffgarbage")
FRESH = file(b'{"notes": []}')
INDEX = "$CWD/index.json"
SAVED = b"saved note 2\n"


def damaged(
    found: FileState | None, left: FileState | None, *, more: dict[str, FileState | None] | None = None, **changes: Any
) -> History:
    """The start finds `found`, ends as given and leaves `left`; restarts do the same."""
    good_again: Run | None = changes.pop("good_again", None)
    kind = changes.pop("kind", "file")
    end = changes.pop("end", None)
    fault = Injected(fault=f"{NOTES} is garbage", kind=kind, hits=1, fired=1)
    files = {NOTES: left, **(more or {})}
    restarts = [run(p, files, end=end) for p in ("restart", "restart again")]
    runs = (run("before", {NOTES: found}), run("run", files, end=end, **{"stdout": SAVED, **changes}), *restarts)
    return history(kind, runs, injected=(fault,), good_again=good_again)


def failing(given: History, yardstick: object = None) -> list[tuple[str, str, tuple[str, ...]]]:
    verdicts: tuple[Verdict, ...] = judge_all(given, yardstick or calibration())  # type: ignore[arg-type]
    return [(v.oracle, v.consequence, v.paths) for v in verdicts if v.outcome == FAILED]


REFUSED: dict[str, Any] = {"end": End(how=EXITED, code=1), "stderr": b"notes.json is damaged\n", "stdout": b""}


def test_left_refused_set_aside_or_begun_afresh_is_legal() -> None:
    assert failing(damaged(GARBAGE, GARBAGE, **REFUSED)) == []
    assert failing(damaged(GARBAGE, GARBAGE)) == []
    assert failing(damaged(GARBAGE, FRESH, stderr=b"damaged, begun afresh\n")) == []
    assert failing(damaged(GARBAGE, FRESH, more={"$CWD/notes.json.bad": GARBAGE})) == []
    assert failing(damaged(GARBAGE, notes(2))) == []  # repaired from a copy
    assert failing(damaged(GARBAGE, file(b"\x00\xffgarbage and one more"))) == []  # appended to by who never reads it
    assert (
        failing(damaged(GARBAGE, file(b"garbage\x00\xff\n"))) == []
    )  # its lines sorted: whoever looks sees the damage
    assert failing(damaged(GARBAGE, file(b"\x00\xff"))) != []


def test_damaged_content_replaced_without_a_word_is_silent() -> None:
    assert failing(damaged(GARBAGE, FRESH)) == [("state", "silent", (NOTES,))]


def test_a_log_of_which_one_record_is_left_still_reads() -> None:
    log = "$CWD/backlog.data"
    lines = [file(b'{"task": 1}\n' * count, log) for count in range(4)]
    chain = tuple(
        clean(k, files={log: lines[k + 1]}, versions={log: (lines[k], lines[k + 1])}, stdout=f"saved {k + 1}\n")
        for k in range(2, 3)
    )
    known = calibration(roles={log: "state"}, chain=(clean(1, files={log: lines[2]}), *chain))
    fault = Injected(fault=f"{log} is truncated", kind="file", hits=1, fired=1)
    after = file(b'{"task": 1}\n{"task": 3}\n', log)
    runs = (run("before", {log: lines[1]}), run("run", {log: after}, stdout=b"saved 3\n"), run("restart", {log: after}))
    assert failing(history("file", runs, start="S2", injected=(fault,)), known) == []


def test_a_wrong_answer_in_place_of_the_clean_one_is_no_word() -> None:
    assert failing(damaged(GARBAGE, FRESH, stdout=b"saved note 1\n")) == [("state", "silent", (NOTES,))]
    assert failing(damaged(GARBAGE, FRESH, stdout=b"saved note 1 (began afresh)\n")) == []


def test_missing_and_empty_files_may_be_begun_afresh_in_silence() -> None:
    assert failing(damaged(None, FRESH)) == []
    assert failing(damaged(file(b""), FRESH)) == []


def test_another_state_file_that_is_hurt_is_a_finding() -> None:
    index = file(b'{"a": 1}', INDEX)
    chain = tuple(
        clean(k, files={NOTES: notes(k + 1), INDEX: index}, versions={NOTES: (notes(k),), INDEX: (index, index)})
        for k in range(3)
    )
    yardstick = calibration(roles={NOTES: "state", INDEX: "state"}, chain=chain)
    assert failing(damaged(GARBAGE, GARBAGE, more={INDEX: index}, **REFUSED), yardstick) == []
    assert failing(damaged(GARBAGE, GARBAGE, more={INDEX: None}, **REFUSED), yardstick) == [("state", "lost", (INDEX,))]
    torn = file(b'{"a', INDEX)
    assert failing(damaged(GARBAGE, GARBAGE, more={INDEX: torn}, **REFUSED), yardstick) == [
        ("state", "corrupt", (INDEX,))
    ]


def test_what_is_gone_and_made_again_from_the_good_file_was_derived() -> None:
    product = file(b'{"a": 1}', INDEX)
    chain = tuple(
        clean(k, files={NOTES: notes(k + 1), INDEX: product}, versions={NOTES: (notes(k),), INDEX: (product, product)})
        for k in range(3)
    )
    yardstick = calibration(roles={NOTES: "state", INDEX: "state"}, chain=chain)
    for left, found in ((product, []), (None, [("state", "lost", (INDEX,))])):
        good = run("good again", {NOTES: notes(2), INDEX: left})
        given = damaged(GARBAGE, GARBAGE, more={INDEX: None}, good_again=good, **REFUSED)
        assert failing(given, yardstick) == found


def test_what_is_made_of_a_damaged_input_is_an_answer_and_no_harm() -> None:
    source = "$CWD/in.txt"
    yardstick = calibration(roles={NOTES: "state", source: "config"})
    fault = Injected(fault=f"{source} is garbage", kind="file", hits=1, fired=1)
    runs = [run(phase, {NOTES: GARBAGE, source: GARBAGE}) for phase in ("run", "restart")]
    assert failing(history("file", runs, injected=(fault,)), yardstick) == []


def test_a_file_that_shrinks_because_the_program_began_afresh_is_not_hurt() -> None:
    index = file(b'{"a": 1}', INDEX)
    chain = tuple(
        clean(k, files={NOTES: notes(k + 1), INDEX: index}, versions={NOTES: (notes(k),), INDEX: (index, index)})
        for k in range(3)
    )
    yardstick = calibration(roles={NOTES: "state", INDEX: "state"}, chain=chain)
    empty = file(b"{}", INDEX)
    assert failing(damaged(GARBAGE, FRESH, more={INDEX: empty}, stderr=b"begun afresh\n"), yardstick) == []


def test_a_hang_or_a_crash_on_damage_is_a_finding() -> None:
    hung = End(how=DEADLINE, elapsed_s=9.0, wait=Wait(state="blocked", seen_s=3.0, call="read"))
    assert failing(damaged(GARBAGE, GARBAGE, end=hung)) == [("end", "hung", ())]  # told once, restarts or not
    crashed = End(how=SIGNALED, signal=11)
    assert failing(damaged(GARBAGE, GARBAGE, end=crashed)) == [("end", "crashed", ())]


def test_a_crash_of_the_restart_alone_is_one_too() -> None:
    fault = Injected(fault=f"{NOTES} is garbage", kind="file", hits=1, fired=1)
    crash = run("restart", {NOTES: GARBAGE}, end=End(how=SIGNALED, signal=11))
    given = history("file", (run("run", {NOTES: GARBAGE}, stdout=SAVED), crash), injected=(fault,))
    assert failing(given) == [("restart", "crashed", (NOTES,))]


def test_it_must_work_again_with_the_good_file() -> None:
    good = run("good again", {NOTES: notes(2)})
    bad = run("good again", {NOTES: notes(1)}, end=End(how=EXITED, code=1))
    assert failing(damaged(GARBAGE, GARBAGE, good_again=good, **REFUSED)) == []
    assert failing(damaged(GARBAGE, GARBAGE, good_again=bad, **REFUSED)) == [("restart", "corrupt", (NOTES,))]


def test_a_lock_that_a_crash_left_is_not_taken_for_the_damage() -> None:
    lock = "$CWD/notes.lock"
    bad = run("good again", {NOTES: notes(1), lock: file(b"", lock)}, end=End(how=EXITED, code=1))
    locked = damaged(GARBAGE, GARBAGE, more={lock: file(b"", lock)}, good_again=bad, **REFUSED)
    known = calibration(roles={NOTES: "state", lock: "lock"})
    assert failing(locked, known) == [("restart", "stuck", (lock,))]
    other = calibration(roles={NOTES: "state", lock: "output"})
    assert failing(locked, other) == [("restart", "corrupt", (NOTES,))]


def test_a_damaged_cache_must_not_change_the_work() -> None:
    cache = "$CWD/cache.json"
    yardstick = calibration(roles={NOTES: "state", cache: "cache"})
    fault = Injected(fault=f"{cache} is garbage", kind="file", hits=1, fired=1)

    def given(content: FileState) -> History:
        return history(
            "file",
            (run("run", {NOTES: content, cache: GARBAGE}, stdout=SAVED), run("restart", {NOTES: notes(3)})),
            injected=(fault,),
        )

    assert failing(given(notes(2)), yardstick) == []
    assert failing(given(notes(1)), yardstick) == [("end", "silent", (NOTES,))]


def test_without_the_name_of_the_damaged_file_nothing_is_known() -> None:
    fault = Injected(fault="something", kind="file", fired=1)
    given = history("file", (run("run", {NOTES: notes(2)}, stdout=SAVED),), injected=(fault,))
    outcomes = {v.oracle: v.outcome for v in judge_all(given, calibration())}
    assert outcomes["state"] == UNKNOWN and outcomes["end"] == PASSED


def test_damage_that_is_moved_on_hurts_no_other_file() -> None:
    old = file(b"yesterday\n", "$CWD/notes.1")
    yardstick = calibration(
        roles={NOTES: "state", "$CWD/notes.1": "state"},
        chain=tuple(clean(k, versions={NOTES: (notes(k),), "$CWD/notes.1": (old, old)}) for k in range(3)),
    )
    rotated = damaged(GARBAGE, notes(1), more={"$CWD/notes.1": GARBAGE}, stderr=b"rotating\n")
    assert failing(rotated, yardstick) == []
    spoilt = damaged(GARBAGE, notes(1), more={"$CWD/notes.1": file(b"\x00\xfeother\n")}, stderr=b"rotating\n")
    assert failing(spoilt, yardstick) == [("state", "corrupt", ("$CWD/notes.1",))]


def test_what_half_a_config_said_and_was_done_is_a_note() -> None:
    refused = run("restart", {}, end=End(how=EXITED, code=1), stderr=b"no such log\n")
    config = calibration(roles={NOTES: "config"})
    for yardstick, end, label in (
        (config, None, "note"), (config, End(how=EXITED, code=1), "defect"), (calibration(), None, "defect"),
    ):  # fmt: skip
        given = damaged(file(b"{"), file(b"{"), end=end, good_again=refused)
        (found,) = [v for v in judge_all(given, yardstick) if v.outcome == FAILED and v.oracle == "restart"]
        assert (found.consequence, found.label) == ("corrupt", label)
