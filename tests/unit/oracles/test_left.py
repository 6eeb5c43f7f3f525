"""What is left behind and adds up, and secrets that others may read; each bad history has a good neighbour.

covers: L-2, M-6, SS-5
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.core.calibration import Calibration, Mask
from blackstart.core.history import EXITED, KILLED, SIGNALED, Census, End, History, Injected, Life, Round, Rounds
from blackstart.core.masking import rooted
from blackstart.core.reading import FileState
from blackstart.core.trace import Operation
from blackstart.core.verdict import DEFECT, FAILED, NOTE
from blackstart.oracles import left, suspicion

from .build import NOTES, calibration, clean, file, history, notes, run, write

STALE = "$CWD/notes-*.tmp"
MASK = rooted(Mask(names=((r"notes-\w+\.tmp$", "notes-*.tmp"),)), "/w", "/home/nobody")
KEPT = ("/w/notes.json",)


def yardstick(**more: Any) -> Calibration:
    chain = tuple(clean(k, trace=(write(STALE), write(NOTES))) for k in range(3))
    return calibration(**{"mask": MASK, "chain": chain, **more})


def ended(kind: str, end: End, *, rounds: Rounds | None = None, stale: bool = True, **more: Any) -> History:
    files: dict[str, FileState | None] = {NOTES: notes(2)}
    if stale:
        files["$CWD/notes-a1.tmp"] = file(b"half", "/w/notes-a1.tmp")
    return history(kind, (run("run", files, end=end), run("restart", files)), rounds=rounds, **more)


def refused(**more: Any) -> History:
    """It said that it could not, and ended."""
    return ended("errno", End(how=EXITED, code=1), **more)


def killed(**more: Any) -> History:
    return ended("kill", End(how=KILLED), **more)


def piles(count: int, *, fired: bool = True, each: bool = True, name: str = "notes-{}.tmp") -> tuple[Round, ...]:
    paths = [f"/w/{name.format('abcdefgh'[k])}" for k in range(count)]
    return tuple(
        Round(fired=fired, paths=(*KEPT, *(paths[: k + 1] if each else paths[:1]))) for k in range(count)
    )  # fmt: skip


def consequence(told: History, known: Calibration) -> str:
    return " ".join(v.consequence for v in left.judge(told, known) if v.outcome == FAILED)


NULL = tuple(Round(paths=KEPT) for _ in range(6))
WELL = piles(6)


@pytest.mark.parametrize(
    ("rounds", "found"),
    [
        (Rounds(faulty=WELL, null=NULL, end=WELL[-1].paths), "leaked"),
        (Rounds(faulty=WELL, null=NULL, end=KEPT), ""),  # the clean start tidies up
        (Rounds(faulty=WELL, null=WELL, end=WELL[-1].paths), ""),  # so it does without a fault
        (Rounds(faulty=piles(6, each=False), null=NULL, end=WELL[-1].paths), ""),  # one stale file
        (Rounds(faulty=piles(6, fired=False), null=NULL, end=WELL[-1].paths), ""),  # not this fault's doing
        (Rounds(faulty=piles(6, name="error-{}.txt"), null=NULL, end=piles(6, name="error-{}.txt")[-1].paths), ""),
    ],
)
def test_what_each_round_leaves_one_more_of(rounds: Rounds, found: str) -> None:
    assert consequence(refused(rounds=rounds), yardstick()) == found


def several(count: int, each: int) -> tuple[Round, ...]:
    """Rounds that leave so many more each."""
    paths = [f"/w/notes-{chr(97 + k)}{n}.tmp" for k in range(count) for n in range(each)]
    return tuple(Round(fired=True, paths=(*KEPT, *paths[: (k + 1) * each])) for k in range(count))


@pytest.mark.parametrize(
    ("kind", "end", "each", "label"),
    [
        ("kill", End(how=KILLED), 1, NOTE),
        ("kill-one", End(how=EXITED, code=1), 1, NOTE),
        ("limit", End(how=SIGNALED, signal=9), 1, NOTE),  # for want of memory
        ("limit", End(how=SIGNALED, signal=25), 1, NOTE),  # SIGXFSZ: the kernel's answer to a write past the limit
        ("limit", End(how=SIGNALED, signal=11), 1, DEFECT),  # its own mistake
        ("kill", End(how=KILLED), 2, DEFECT),
        ("signal", End(how=SIGNALED, signal=15), 1, NOTE),  # which the job does not handle
        ("signal", End(how=SIGNALED, signal=15), 2, DEFECT),
        ("signal", End(how=EXITED, code=1), 1, DEFECT),  # it does, and could have tidied up
        ("errno", End(how=EXITED, code=1), 1, DEFECT),
    ],
)
def test_one_more_for_each_sigkill_is_a_note(kind: str, end: End, each: int, label: str) -> None:
    rounds = Rounds(faulty=several(6, each), null=NULL, end=several(6, each)[-1].paths)
    (verdict,) = left.judge(ended(kind, end, rounds=rounds), yardstick())
    assert (verdict.consequence, verdict.label, verdict.paths) == ("leaked", label, (STALE,))


def test_a_service_is_stopped_by_a_signal_every_day() -> None:
    rounds = Rounds(faulty=WELL, null=NULL, end=WELL[-1].paths)
    told = ended("signal", End(how=SIGNALED, signal=15), rounds=rounds)
    verdicts = left.judge(told, yardstick(is_service=True))
    assert [v.label for v in verdicts if v.outcome == FAILED] == [DEFECT]


def test_what_a_kill_leaves_does_not_keep_an_error_that_leaves_the_same_from_being_tried() -> None:
    assert suspicion(killed(), yardstick()) != suspicion(refused(), yardstick())


@pytest.mark.parametrize(("call", "found"), [("unlink", ""), ("unlinkat", ""), ("rename", "leaked")])
def test_what_stays_because_its_own_removal_failed_is_not_left_behind(call: str, found: str) -> None:
    operation = Operation(index=0, call=call, masked=STALE)
    acted = (Injected(fault=f"{call} {STALE}", kind="errno", hits=1, fired=1, operation=operation),)
    rounds = Rounds(faulty=WELL, null=NULL, end=WELL[-1].paths)
    assert consequence(refused(rounds=rounds, injected=acted), yardstick()) == found
    assert bool(suspicion(refused(injected=acted), yardstick())) == bool(found)


@pytest.mark.parametrize(
    ("fired", "nth", "process", "found"),
    [
        (2, 1, 2, ""),  # `rm` could not be started
        (1, 2, 2, ""),
        (1, 1, 2, "leaked"),  # another program could not, and then it was not tried
        (2, 1, 1, "leaked"),  # it removes its files itself
    ],
)
def test_who_cannot_start_what_removes_its_files_has_not_left_them_behind(
    fired: int, nth: int, process: int, found: str
) -> None:
    def one(call: str, process: int, path: str = "", **more: Any) -> Operation:
        return Operation(index=0, call=call, masked=path, path=path.replace("$CWD", "/w"), process=process, **more)

    starts = (one("execve", 1), write(STALE, process=1), write(NOTES, process=1), one("clone", 1), one("execve", 9))
    ends = (one("clone", 1, nth=2), one("execve", 2), one("unlinkat", process, STALE))
    known = yardstick(chain=tuple(clean(k, trace=(*starts, *ends)) for k in range(3)))
    acted = (Injected(fault="no", kind="limit", hits=fired, fired=fired, operation=one("clone", 1, nth=nth)),)
    rounds = Rounds(faulty=WELL, null=NULL, end=WELL[-1].paths)
    assert consequence(refused(rounds=rounds, injected=acted), known) == found
    assert bool(suspicion(refused(injected=acted), known)) == bool(found)


def test_only_what_a_clean_run_takes_away_again_is_suspected() -> None:
    assert suspicion(refused(), yardstick()) == f"files {STALE}"
    assert not suspicion(refused(stale=False), yardstick())
    assert not suspicion(msgspec.structs.replace(refused(), kind="file"), yardstick())
    assert not suspicion(refused(), calibration(mask=MASK))  # no clean run makes it: a report, or set aside


def counted(*threads: int, null: int = 0, later: int | None = None) -> Rounds:
    """Rounds of a service with so many threads after each."""
    return Rounds(
        faulty=tuple(Round(fired=True, census=Census(threads=count, descriptors=9)) for count in threads),
        null=tuple(Round(census=Census(threads=1 + null * k, descriptors=9)) for k in range(len(threads))),
        census=Census(threads=threads[-1] if later is None else later, descriptors=9),
    )


@pytest.mark.parametrize(
    ("rounds", "found"),
    [
        (counted(2, 3, 4, 5, 6, 7), "leaked"),
        (counted(5, 5, 5, 5, 5, 5), ""),  # a pool that the first use fills
        (counted(2, 3, 4, 4, 4, 4), ""),  # a pool that fills slowly
        (counted(2, 3, 4, 5, 6, 7, null=1), ""),  # so it does without a fault
        (counted(2, 3, 4, 5, 6, 7, later=1), ""),  # it still tried, and has let go
        (counted(2, 3, 4), ""),  # too few
    ],
)
def test_what_a_living_service_holds_more_of_after_each_round(rounds: Rounds, found: str) -> None:
    assert consequence(history("errno", (), rounds=rounds), calibration(is_service=True)) == found


def test_memory_counts_only_where_it_grows_by_much_and_alone() -> None:
    def grown(step: int, null: int) -> Rounds:
        seen = [Round(fired=True, census=Census(memory_bytes=(40 << 20) + k * step)) for k in range(6)]
        anyway = [Round(census=Census(memory_bytes=(40 << 20) + k * null)) for k in range(6)]
        return Rounds(faulty=tuple(seen), null=tuple(anyway), census=seen[-1].census)

    for step, null, found in ((1 << 20, 0, "leaked"), (4096, 0, ""), (1 << 20, 1 << 19, "")):
        assert consequence(history("errno", (), rounds=grown(step, null)), calibration(is_service=True)) == found


def test_more_than_in_a_clean_run_is_only_suspected() -> None:
    def life(threads: int) -> Life:
        return Life(ready_s=0.1, fired_s=0.3, healed_s=0.5, again_s=0.6, stop_s=1.0, census=Census(threads=threads))

    known = calibration(is_service=True, chain=tuple(clean(k, life=life(2)) for k in range(2)))
    for threads, found in ((3, f"threads errno {NOTES}"), (2, "")):
        told = history("errno", (run("run", {NOTES: notes(2)}, life=life(threads)),))
        assert suspicion(told, known) == found


@pytest.mark.parametrize(("still", "found"), [(("sleep 1000",), "leaked"), ((), "")])
def test_processes_that_a_job_leaves_each_time(still: tuple[str, ...], found: str) -> None:
    rounds = Rounds(faulty=(Round(fired=True, left=still),) * 6, null=(Round(),) * 6)
    ended = run("run", {NOTES: notes(1)}, end=End(how=EXITED, code=1), left=("sleep 1000",))
    told = history("errno", (ended,), rounds=rounds)
    assert consequence(told, calibration()) == found
    assert suspicion(told, calibration()) == "processes"
    assert not consequence(msgspec.structs.replace(told, kind="signal"), calibration())


SECRET = b'{"user": "nobody", "password": "correct horse battery"}'
TEMPORARY = "$CWD/keys.json.new"


@pytest.mark.parametrize(
    ("mode", "content", "closed", "found"),
    [
        (0o644, SECRET, (), "leaked"),
        (0o600, SECRET, (), ""),
        (0o644, b'{"user": "nobody"}', (), ""),
        (0o644, SECRET, ("$CWD",), ""),  # nobody else can enter
    ],
)
def test_a_secret_in_a_file_that_others_may_read(
    mode: int, content: bytes, closed: tuple[str, ...], found: str
) -> None:
    private = msgspec.structs.replace(file(SECRET, "/w/keys.json"), mode=0o600)
    copy = msgspec.structs.replace(file(content, "/w/keys.json.new"), mode=mode)
    known = calibration(chain=tuple(clean(k, files={"$CWD/keys.json": private}) for k in range(2)), closed=closed)
    files: dict[str, FileState | None] = {"$CWD/keys.json": private, TEMPORARY: copy}
    told = history("kill", (run("run", files, end=End(how=KILLED)), run("restart", files)))
    assert consequence(told, known) == found


def test_what_clean_runs_show_to_others_is_no_secret() -> None:
    private = msgspec.structs.replace(file(SECRET, "/w/keys.json"), mode=0o600)
    copy = msgspec.structs.replace(file(SECRET, "/w/keys.json.bak"), mode=0o644)
    both: dict[str, FileState] = {"$CWD/keys.json": private, "$CWD/keys.json.bak": copy}
    known = calibration(chain=tuple(clean(k, files=both) for k in range(2)))
    told = history("kill", (run("run", dict(both), end=End(how=KILLED)), run("restart", dict(both))))
    assert not consequence(told, known)


@pytest.mark.parametrize(
    ("mode", "end", "stood", "found"),
    [
        (0o644, KILLED, 0o600, "leaked"),
        (0o600, KILLED, 0o600, ""),
        (0o644, EXITED, 0o600, ""),
        (0o644, KILLED, 0o644, ""),  # nobody kept it from others before
    ],
)
def test_a_secret_that_others_may_read_until_the_next_start(mode: int, end: str, stood: int, found: str) -> None:
    private = msgspec.structs.replace(file(SECRET, "/w/keys.json"), mode=0o600)
    made = msgspec.structs.replace(file(SECRET, "/w/keys.json.new"), mode=mode)
    old = msgspec.structs.replace(private, mode=stood)
    runs = (clean(k, files={"$CWD/keys.json": private}, versions={"$CWD/keys.json": (old, private)}) for k in range(2))
    killed = run("run", {"$CWD/keys.json": private, TEMPORARY: made}, end=End(how=end))
    told = history("kill", (killed, run("restart", {"$CWD/keys.json": private})))
    assert consequence(told, calibration(chain=tuple(runs))) == found
