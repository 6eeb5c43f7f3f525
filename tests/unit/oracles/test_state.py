"""`state`: bad and good twins of one history."""

from __future__ import annotations

import json

import msgspec
import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import KILLED, End, History, Reset
from blackstart.core.masking import UNREAD
from blackstart.core.reading import FileState, Reading
from blackstart.core.verdict import EACH_WHOLE, FAILED, PASSED, UNKNOWN, Verdict
from blackstart.oracles import state
from tests.unit.oracles.build import NOTES, calibration, clean, file, history, killed, notes, refused, rerun, run


def judge(given: object, yardstick: object = None) -> Verdict:
    verdicts = state.judge(given, yardstick or calibration())  # type: ignore[arg-type]
    assert len(verdicts) == 1, verdicts
    return verdicts[0]


def test_old_and_new_content_plus_a_rerun_are_legal() -> None:
    assert judge(killed(notes(1), notes(2))).outcome == PASSED
    assert judge(killed(notes(2), notes(3))).outcome == PASSED


def test_fewer_notes_than_before_are_lost_and_the_evidence_says_so() -> None:
    verdict = judge(killed(file(b""), notes(1)))
    assert (verdict.outcome, verdict.consequence, verdict.paths) == (FAILED, "lost", (NOTES,))
    assert "holds 1 value, clean runs leave 2 values" in verdict.evidence[0]


def test_a_missing_and_an_empty_file_are_lost() -> None:
    assert judge(killed(None, None)).consequence == "lost"
    text = "$CWD/list.txt"
    chain = tuple(
        clean(k, files={text: file(b"a\n" * (k + 1), text)}, versions={text: (file(b"a\n", text),) * 2})
        for k in range(3)
    )
    yardstick = calibration(roles={text: "state"}, chain=chain)
    empty = history("kill", (run("run", {text: file(b"", text)}), run("restart", {text: file(b"", text)})))
    verdict = judge(empty, yardstick)
    assert verdict.consequence == "lost" and "is empty" in verdict.evidence[0]


def test_a_content_that_no_longer_reads_is_corrupt() -> None:
    verdict = judge(killed(file(b'{"no'), file(b'{"no')))
    assert verdict.consequence == "corrupt"
    assert "can no longer be read as JSON" in verdict.evidence[0]


def test_a_torn_value_is_corrupt() -> None:
    torn = file(json.dumps({"notes": ["note 1", "not"]}).encode())
    assert judge(killed(notes(1), torn)).consequence == "corrupt"


ACCOUNTS = "$CWD/accounts.json"


def accounts(left: object, right: object, **more: object) -> FileState:
    return file(json.dumps({"left": f"has {left}", "right": f"has {right}", **more}).encode(), ACCOUNTS)


def judge_accounts(after: FileState) -> Verdict:
    """A content that is replaced each run: not growing, and each version measured."""
    chain = tuple(
        clean(
            k,
            files={ACCOUNTS: accounts(k + 1, k + 1)},
            versions={ACCOUNTS: (accounts(k, k), accounts(k + 1, k + 1))},
        )
        for k in range(3)
    )
    given = history("kill", (run("run", {ACCOUNTS: accounts(1, 1)}), run("restart", {ACCOUNTS: after})))
    return judge(given, calibration(roles={ACCOUNTS: "state"}, chain=chain))


def test_a_mixture_of_old_and_new_is_corrupt_where_all_versions_were_measured() -> None:
    assert judge_accounts(accounts(3, 2)).consequence == "corrupt"
    assert judge_accounts(accounts(3, 3)).outcome == PASSED


def test_a_content_that_fell_back_to_an_earlier_version_is_lost() -> None:
    assert judge_accounts(accounts(1, 1)).consequence == "lost"


def test_all_that_is_legal_and_something_known_besides_is_not_judged() -> None:
    path = "$CWD/turn.json"
    turns = [file(json.dumps({"turn": [f"player {k}"]}).encode(), path) for k in range(4)]
    chain = tuple(clean(k, files={path: turns[k + 1]}, versions={path: (turns[k], turns[k + 1])}) for k in range(3))
    both = file(json.dumps({"turn": ["player 1", "player 2"]}).encode(), path)
    given = history("kill", (run("run", {path: turns[1]}), run("restart", {path: both})))
    assert judge(given, calibration(roles={path: "state"}, chain=chain)).outcome == UNKNOWN


def test_a_new_value_and_a_value_more_are_not_judged() -> None:
    assert judge_accounts(accounts(3, "a debt")).outcome == UNKNOWN
    assert judge_accounts(accounts(2, 2, both="has 2")).outcome == UNKNOWN


def test_the_same_note_twice_is_not_judged() -> None:
    twice = file(json.dumps({"notes": ["note 1", "note 2", "note 2", "note 2"]}).encode())
    assert judge(killed(notes(1), twice)).outcome == UNKNOWN


def test_something_new_in_the_file_is_not_judged() -> None:
    content = {"notes": ["note 1", "note 2"], "last error": "no space left"}
    assert judge(killed(notes(1), file(json.dumps(content).encode()))).outcome == UNKNOWN


def test_what_cannot_be_compared_is_judged_by_what_the_restart_says_of_it() -> None:
    odd = file(json.dumps({"notes": ["note 1", "note 2", "of 9:41"]}).encode())

    def told(stdout: bytes, yardstick: Calibration) -> str:
        first = run("run", {NOTES: notes(1)}, end=End(how=KILLED))
        return judge(history("kill", (first, run("restart", {NOTES: odd}, stdout=stdout))), yardstick).outcome

    assert told(b"saved note 2\n", calibration()) == told(b"saved note 3\n", calibration()) == PASSED
    assert told(b"saved note 1\n", calibration()) == UNKNOWN  # of an earlier version
    assert told(b"", calibration()) == UNKNOWN
    alike = calibration(chain=tuple(clean(k, stdout="saved\n") for k in range(3)))
    assert told(b"saved\n", alike) == UNKNOWN  # which tells nothing


def test_other_roles_are_not_judged() -> None:
    for role in ("log", "cache", "scratch", "lock", "config", "install"):
        assert judge(killed(notes(1), None), calibration(roles={NOTES: role})).outcome == PASSED


def test_hopeless_files_are_not_judged() -> None:
    hopeless = msgspec.structs.replace(calibration().mask, hopeless=frozenset({NOTES}))
    assert judge(killed(notes(1), None), calibration(mask=hopeless)).outcome == PASSED


def test_a_measured_boundary_rerun_is_legal() -> None:
    odd = file(b'{"notes": ["note 1", "note 2", "left over"]}')
    yardstick = calibration(boundary_reruns={"S1": (rerun(notes(1), odd),)})
    assert judge(killed(notes(1), odd), yardstick).outcome == PASSED


def test_steps_that_nobody_measured_are_no_defects() -> None:
    many = clean(1, versions={NOTES: (notes(1), notes(4), notes(9))}, files={NOTES: notes(9)})
    after = clean(2, versions={NOTES: (notes(9), notes(17))}, files={NOTES: notes(17)})
    yardstick = calibration(chain=(clean(0), many, after))
    assert judge(killed(notes(4), notes(12)), yardstick).outcome == PASSED
    assert judge(killed(notes(4), notes(8)), yardstick).consequence == "lost"


def test_a_file_that_shrinks_may_stand_anywhere_between() -> None:
    chain = tuple(
        clean(
            k, versions={NOTES: (notes(9 - 3 * k), notes(8 - 3 * k), notes(6 - 3 * k))}, files={NOTES: notes(6 - 3 * k)}
        )
        for k in range(3)
    )
    assert judge(killed(notes(5), notes(2)), calibration(chain=chain)).outcome == PASSED


def test_versions_that_were_not_read_make_the_oracle_careful() -> None:
    gap = FileState(path=NOTES, kind=UNREAD)
    counted = [file(json.dumps({"turn": f"t{k}"}).encode()) for k in range(9)]
    one = clean(1, versions={NOTES: (counted[1], gap, counted[5])}, files={NOTES: counted[5]})
    two = clean(2, versions={NOTES: (counted[5], gap, counted[8])}, files={NOTES: counted[8]})
    yardstick = calibration(chain=(clean(0), one, two))
    assert judge(killed(counted[2], counted[6]), yardstick).outcome == UNKNOWN


def test_half_files_that_no_restart_recovered_are_not_judged_when_a_lock_was_to_blame() -> None:
    reset = Reset(removed=("/w/lock",), helped=True)
    assert judge(refused(file(b'{"no'), resets=(reset,))).outcome == PASSED


def test_the_file_whose_content_had_to_be_put_back_is_corrupt() -> None:
    reset = Reset(put_back=("/w/notes.json",), helped=True)
    assert judge(refused(file(b'{"no'), resets=(reset,))).consequence == "corrupt"
    assert judge(refused(file(b'{"no'))).consequence == "corrupt"


def test_a_half_made_first_file_is_left_to_the_restart_oracle_unless_it_was_acknowledged() -> None:
    reset = Reset(removed=("/w/notes.json",), helped=True)
    assert judge(refused(file(b'{"no'), "S0", resets=(reset,))).outcome == PASSED
    told = refused(file(b'{"no'), "S0", resets=(reset,), stdout=b"saved note 1\n")
    assert judge(told).consequence == "corrupt"


def test_the_check_decides_first() -> None:
    chain = tuple(clean(k, check=f"0\n{k + 1} notes\n") for k in range(3))
    yardstick = calibration(chain=chain, has_check=True)

    def checked(value: str, content: FileState) -> object:
        reading = Reading(name="check", value=value)
        first = run("run", {NOTES: notes(1)})
        return history("kill", (first, run("restart", {NOTES: content}, readings=(reading,))))

    assert judge(checked("0\n3 notes\n", file(b"?")), yardstick).outcome == PASSED
    failing = judge(checked("1\nnotes are damaged\n", notes(2)), yardstick)
    assert failing.consequence == "corrupt" and "notes are damaged" in failing.evidence[0]
    assert judge(checked("0\n7 notes\n", notes(1)), yardstick).consequence == "lost"


def test_files_that_are_whole_but_fail_the_check_may_not_fit_together() -> None:
    total = "$CWD/total.json"

    def sums(count: int) -> FileState:
        return file(json.dumps({"notes": count}).encode(), total)

    def both(k: int) -> CleanRun:
        files = {NOTES: notes(k + 1), total: sums(k + 1)}
        return clean(k, files=files, versions={p: (None, s) for p, s in files.items()}, check=f"0\n{k + 1} notes\n")

    yardstick = calibration(
        chain=tuple(both(k) for k in range(3)), roles={NOTES: "state", total: "state"}, has_check=True
    )

    def failing(content: FileState) -> Verdict:
        reading = Reading(name="check", value="1\ntotals differ\n")
        files = {NOTES: content, total: sums(2)}
        return judge(
            history("kill", (run("run", files), run("restart", files, readings=(reading,)))), yardstick
        )

    apart = failing(notes(3))
    assert apart.paths == (NOTES, total) and apart.evidence[1].startswith(EACH_WHOLE)
    assert failing(file(b'{"notes": ["no')).paths == ()  # one of them alone is damaged


def answered(left: str, now: str, *, said: bytes = b"", content: FileState | None = None) -> History:
    """A kill after which `--check` answers `left`, and after a restart that says `said`, `now`."""
    first = run("run", {NOTES: notes(1)}, end=End(how=KILLED), readings=(Reading(name="check", value=left),))
    again = run("restart", {NOTES: content}, stderr=said, readings=(Reading(name="check", value=now),))
    return history("kill", (first, again))


def test_a_check_that_failed_and_now_answers_what_no_clean_run_does_is_corrupt() -> None:
    def check(count: int) -> str:
        return "0\n" + "".join(f"note {number}\n" for number in range(1, count + 1))

    steps = ((0, check(1)), (1, check(2)))
    chain = tuple(clean(k, check=check(k + 1), check_steps=steps) for k in range(3))
    yardstick = calibration(chain=chain, has_check=True)
    broken, strange = "1\nnote 1\nrecord 2 is missing\n", "0\nnote 1\n0\nnote 2\n"
    verdict = judge(answered(broken, strange, content=notes(2)), yardstick)
    assert verdict.consequence == "corrupt"
    assert "record 2 is missing" in verdict.evidence[0] and "has it answer: 0" in verdict.evidence[1]
    for good in (
        answered(broken, check(2), content=notes(2)),  # the restart mends it
        answered(broken, strange, said=b"record 2 was damaged\n", content=notes(2)),  # and it was said
        answered(check(1), strange, content=notes(2)),  # something new, in what never failed
    ):
        assert judge(good, yardstick).outcome == PASSED


def test_a_number_that_is_always_the_same_and_now_smaller_is_lost() -> None:
    steps = ((0, "0\nsum 200\n"), (0, "0\nsum 191\n"), (1, "0\nsum 200\n"))  # in mid-work it may be another one
    chain = tuple(clean(k, check="0\nsum 200\n", check_steps=steps) for k in range(3))
    yardstick = calibration(chain=chain, has_check=True)
    verdict = judge(answered("0\nsum 191\n", "0\nsum 191\n", content=notes(2)), yardstick)
    assert verdict.consequence == "lost" and "sum 191 after the restart, and sum 200 after each" in verdict.evidence[0]
    for now in ("0\nsum 200\n", "0\nsum 209\n", "0\nsum 200\nleft 1\n"):
        assert judge(answered("0\nsum 200\n", now, content=notes(2)), yardstick).outcome == PASSED
    grows = calibration(chain=tuple(clean(k, check=f"0\nsum {k}\n") for k in range(3)), has_check=True)
    assert judge(answered("0\nsum 0\n", "0\nsum -1\n", content=notes(2)), grows).outcome == PASSED


def test_an_answer_like_a_clean_one_does_not_vouch_for_a_file_where_the_check_is_strange() -> None:
    blob = "$CWD/list.bin"
    many = tuple(file(b"\0" + bytes([65 + k]) * 64, blob) for k in range(5))
    odd = file(b"\0" + b"odd" * 30, blob)
    chain = tuple(
        clean(k, files={blob: many[k + 1]}, versions={blob: (many[k], many[k + 1])}, check=f"0\nrecord {k}\n")
        for k in range(3)
    )
    yardstick = calibration(roles={blob: "state"}, chain=chain, has_check=True)

    def told(check: str) -> History:
        first = run("run", {blob: many[1]}, end=End(how=KILLED))
        again = run("restart", {blob: odd}, stdout=b"saved note 2\n", readings=(Reading(name="check", value=check),))
        return history("kill", (first, again))

    unsure = judge(told("0\nsomething else\n"), yardstick)
    assert unsure.outcome == UNKNOWN and "has it answer: something else" in unsure.why
    plain = calibration(roles={blob: "state"}, chain=chain)
    assert judge(told(""), plain).outcome == PASSED


def test_a_file_of_the_next_number_takes_the_place_of_one_that_was_never_made() -> None:
    def ticket(number: int) -> str:
        return f"$CWD/tickets/{number}.json"

    def tickets(*numbers: int) -> dict[str, FileState | None]:
        return {ticket(number): file(b'{"text": "new"}', ticket(number)) for number in numbers}

    chain = tuple(
        clean(
            k,
            files=tickets(*range(1, k + 2)),
            versions={ticket(k + 1): (None, tickets(k + 1)[ticket(k + 1)])},
            acknowledgements=(),
        )
        for k in range(3)
    )
    yardstick = calibration(roles={ticket(number): "state" for number in range(1, 4)}, chain=chain)

    def restarted(begun: tuple[int, ...], *now: int) -> History:
        return history("kill", (run("run", tickets(*begun), end=End(how=KILLED)), run("restart", tickets(*now))))

    assert judge(restarted((1,), 1, 3), yardstick).outcome == PASSED
    assert judge(restarted((1,), 1), yardstick).consequence == "lost"  # nothing stands in its place
    assert judge(restarted((1, 2), 1, 3), yardstick).consequence == "lost"  # it had been made
    assert judge(restarted((1,), 3), yardstick).consequence == "lost"  # another one is gone


@pytest.mark.parametrize(("tasks", "results", "lost"), [
    ((3, 4), (2,), True),  # task 1 is gone, and there is no result of it
    ((2, 3, 4), (2,), False),  # the restart has done it, and counts on
])  # fmt: skip
def test_another_result_stands_for_none_of_a_task_that_is_gone(
    tasks: tuple[int, ...], results: tuple[int, ...], lost: bool
) -> None:
    def stands(tasks: tuple[int, ...], results: tuple[int, ...]) -> dict[str, FileState | None]:
        found: dict[str, FileState | None] = {}
        for number in tasks:
            found[f"$CWD/new/{number}"] = file(b"nail %d\n" % number, f"$CWD/new/{number}")
        for number in results:
            found[f"$CWD/done/{number}"] = file(b"NAILED %d\n" % number, f"$CWD/done/{number}")
        return found

    def one(k: int) -> CleanRun:
        files = stands(tuple(range(k + 2, 5)), tuple(range(1, k + 2)))
        task, result = f"$CWD/new/{k + 1}", f"$CWD/done/{k + 1}"
        versions = {task: (stands((k + 1,), ())[task], None), result: (None, files[result])}
        return clean(k, files=files, versions=versions, acknowledgements=())

    roles = dict.fromkeys((f"$CWD/{folder}/{n}" for folder in ("new", "done") for n in range(1, 5)), "state")
    yardstick = calibration(roles=roles, chain=tuple(one(k) for k in range(3)))
    runs = (run("run", stands((2, 3, 4), ()), end=End(how=KILLED)), run("restart", stands(tasks, results)))
    found = judge(history("kill", runs, start="S0"), yardstick)
    assert (found.consequence == "lost") == lost, found.evidence


def test_a_program_that_refuses_a_second_run_is_judged_by_what_the_first_one_left() -> None:
    once = calibration(refuses_rerun=True)
    assert judge(killed(notes(1), None), once).outcome == PASSED
    assert judge(killed(None, notes(2)), once).consequence == "lost"


def test_without_a_restart_nothing_is_known() -> None:
    assert judge(history("kill", (run("run", {NOTES: None}),))).outcome == UNKNOWN
    assert judge(killed(None, None, start="S9")).outcome == UNKNOWN


def test_bytes_are_torn_between_bytes_and_not_within_one() -> None:
    old, new = b"\xff" + b"a" * 7 + b"\x12" + b"b" * 7, b"\xff" + b"a" * 7 + b"\x34" + b"b" * 7
    for between, expected in ((b"\xff" + b"a" * 7 + b"\x32" + b"b" * 7, ""), (old[:12] + b"c" * 4, "corrupt")):
        chain = tuple(
            clean(k, files={NOTES: file(new, "$CWD/n")}, versions={NOTES: (file(old, "$CWD/n"), file(one, "$CWD/n"))})
            for k, one in enumerate((new, old[:8] + b"c" * 8, new))
        )
        assert judge(killed(None, file(between, "$CWD/n")), calibration(chain=chain)).consequence == expected


def test_a_torn_record_at_the_end_of_a_growing_text_is_tolerated() -> None:
    path = "$CWD/journal.txt"

    def lines(count: int, more: bytes = b"") -> FileState:
        return file(b"".join(b"entry number %d\n" % n for n in range(count)) + more, path)

    chain = tuple(
        clean(k, files={path: lines(3 * k + 3)}, versions={path: tuple(lines(3 * k + n) for n in range(4))})
        for k in range(3)
    )
    yardstick = calibration(roles={path: "state"}, chain=chain)

    def ended(content: FileState) -> object:
        return history("kill", (run("run", {path: content}), run("restart", {path: content})))

    assert judge(ended(lines(7, b"entry num")), yardstick).outcome == PASSED
    assert judge(ended(lines(4, b"entry nuentry number 4\nentry number 5\n")), yardstick).outcome == PASSED
    assert judge(ended(lines(4)), yardstick).consequence == "lost"
