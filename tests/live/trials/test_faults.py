"""Each kind of fault really fires on a real program, its account says so, and it is over when it should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackstart.core.history import History, Injected, Run
from blackstart.faults import AnyFault
from blackstart.faults.db import Break
from blackstart.faults.errno import SHORT, Errno
from blackstart.faults.file import DAMAGES, Damage
from blackstart.faults.kill import Kill
from blackstart.faults.point import Point

from .stage import PATIENT, Stage, printed, staged, starts

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# Reads its notes, writes each anew with raw calls, tells every error, and ends with the number of errors.
WRITER = """
import os
errors = 0
def told(what, *arguments):
    global errors
    try:
        return what(*arguments)
    except OSError as error:
        errors += 1
        print(what.__name__, errno_name(error), flush=True)
        return -1
def errno_name(error):
    import errno
    return errno.errorcode[error.errno]
print('began', flush=True)
content = told(lambda: open('notes', 'rb').read())
out = told(os.open, 'out', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for number in range(4):
    told(os.write, out, b'%d' % number * 100)
other = told(os.open, 'other', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
told(os.write, other, b'x' * 10)
told(os.mkdir, 'made') if not os.path.isdir('made') else 0
told(os.rename, 'other', 'renamed')
told(os.unlink, 'renamed')
print('ended', flush=True)
os._exit(min(errors, 100))
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, WRITER, {"notes": b"one\ntwo\n"}) as made:
        yield made


def only(history: History) -> Injected:
    assert history.trouble == ""
    (account,) = history.injected
    return account


def first(history: History) -> Run:
    run = history.run("run")
    assert run is not None
    return run


def errors(run: Run) -> list[str]:
    """The lines `call ERROR` that the program printed."""
    return [line for line in printed(run).decode().splitlines() if " " in line]


def test_without_a_fault_nothing_happens(stage: Stage) -> None:
    history = stage.trial()
    assert history.injected == ()
    assert [run.phase for run in starts(history)] == ["run", "restart"]
    assert [run.end.code for run in starts(history)] == [0, 0]
    assert errors(first(history)) == []
    assert stage.size(first(history), "out") == 400
    assert history.resets == ()


@pytest.mark.parametrize(
    ("call", "name", "nth", "error"),
    [
        ("openat|open", "out", 1, "EMFILE"),
        ("write", "out", 2, "EIO"),
        ("write", "out", 4, "ENOSPC"),
        ("rename", "other", 1, "EIO"),
        ("unlink", "renamed", 1, "EIO"),
        ("mkdir", "made", 1, "EACCES"),
    ],
)
def test_a_transient_error_is_met_once_and_is_over(stage: Stage, call: str, name: str, nth: int, error: str) -> None:
    fault = Errno(point=stage.point(call, name, nth), error=error)
    history = stage.trial(fault)
    account = only(history)
    assert (account.fired, account.matched) == (1, True)
    assert account.operation is not None
    assert (account.operation.masked, account.operation.nth) == (f"$CWD/{name}", nth)
    assert [line.split()[1] for line in errors(first(history))].count(error) == 1
    assert [run.end.code for run in starts(history)[1:]] == [0]  # healed before the restart
    assert errors(starts(history)[1]) == []


def test_a_full_disk_is_met_by_every_growing_call_after_its_point_and_by_none_before(stage: Stage) -> None:
    history = stage.trial(Errno(point=stage.point("write", "out", 3), error="ENOSPC", persistent=True))
    assert only(history).fired >= 1
    run = first(history)
    # Two writes to `out`, the opening of `other`, its write on no descriptor (EBADF), the directory; renaming nothing.
    assert errors(run)[:3] == ["write ENOSPC", "write ENOSPC", "open ENOSPC"]
    assert "mkdir ENOSPC" in errors(run)
    assert stage.size(run, "out") == 200
    assert stage.size(run, "other") == -1
    assert "made" not in stage.names(run)
    assert errors(starts(history)[1]) == []
    assert "made" in stage.names(starts(history)[1])


def test_a_read_only_disk_refuses_every_change_after_its_point(stage: Stage) -> None:
    history = stage.trial(Errno(point=stage.point("openat|open", "other"), error="EROFS", persistent=True))
    run = first(history)
    assert stage.size(run, "out") == 400
    assert errors(run)[0] == "open EROFS"
    assert "mkdir EROFS" in errors(run)
    assert stage.names(run) == {"notes", "out"}
    assert errors(starts(history)[1]) == []


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_short_write_leaves_exactly_its_bytes_and_then_the_disk_is_full(stage: Stage, nth: int) -> None:
    history = stage.trial(Errno(point=stage.point("write", "out", nth), error=SHORT, persistent=True))
    account = only(history)
    assert (account.fired >= 1, account.matched) == (True, True)
    assert stage.size(first(history), "out") == (nth - 1) * 100 + 50
    assert "write ENOSPC" in errors(first(history)) or nth == 4
    assert "open ENOSPC" in errors(first(history))
    assert stage.size(starts(history)[1], "out") == 400


@pytest.mark.parametrize(
    ("call", "name", "nth", "left"),
    [
        ("openat|open", "out", 1, {"notes"}),
        ("write", "out", 1, {"notes", "out"}),
        ("write", "out", 3, {"notes", "out"}),
        ("rename", "other", 1, {"notes", "out", "other", "made"}),
        ("unlink", "renamed", 1, {"notes", "out", "renamed", "made"}),
        ("exit_group", "", 1, {"notes", "out", "made"}),
    ],
)
def test_a_kill_leaves_what_was_done_before_its_point(
    stage: Stage, call: str, name: str, nth: int, left: set[str]
) -> None:
    history = stage.trial(Kill(point=stage.point(call, name, nth)))
    account = only(history)
    assert (account.fired, account.matched) == (1, True)
    run = first(history)
    assert run.end.how == "killed"
    assert stage.names(run) == left
    if call == "write":
        assert stage.size(run, "out") == (nth - 1) * 100
    assert starts(history)[1].end.how == "exited"


def test_a_kill_counts_the_lines_that_had_got_out(stage: Stage) -> None:
    assert only(stage.trial(Kill(point=stage.point("write", "out", 1)))).outputs == 1
    assert only(stage.trial(Kill(point=stage.point("exit_group", "")))).outputs == 2


def test_a_point_that_the_program_does_not_reach_did_not_fire(stage: Stage) -> None:
    history = stage.trial(Kill(point=Point(call="write", path="$CWD/out", nth=99)))
    account = only(history)
    assert (account.fired, account.hits) == (0, 4)
    assert "came to this call 4 times" in account.note
    assert first(history).end.how == "exited"


def test_another_operation_than_the_planned_one_is_told(stage: Stage) -> None:
    point = stage.point("openat|open", "out")
    stage.runs(WRITER.replace("os.O_WRONLY | os.O_CREAT | os.O_TRUNC", "os.O_RDWR | os.O_CREAT"))
    account = only(stage.trial(Errno(point=point, error="EIO")))
    assert (account.fired, account.matched) == (1, False)


def test_a_name_with_stars_and_bars_is_met(tmp_path: Path) -> None:
    script = "import os\nfor name in ('a*|b', 'a', 'b', 'ab'): open(name, 'w').write('x')"
    with staged(tmp_path, script) as stage:
        history = stage.trial(Kill(point=stage.point("openat|open", "a*|b")))
        assert (only(history).fired, stage.names(first(history))) == (1, set())
        history = stage.trial(Kill(point=Point(call="openat", path="$CWD/b", nth=1)))
        assert (only(history).fired, stage.names(first(history))) == (1, {"a*|b", "a"})


# --- damage -----------------------------------------------------------------------------------------------------------

READER = """
import os, sys
try:
    data = open('notes', 'rb').read()
except OSError as error:
    print('read', type(error).__name__, flush=True)
    data = None
print('size', -1 if data is None else len(data), flush=True)
try:
    os.close(os.open('notes', os.O_WRONLY | os.O_APPEND))
except OSError as error:
    print('write', type(error).__name__, flush=True)
sys.exit(0 if data == b'0123456789' * 10 else 1)
"""
SEEN = {
    "empty": ["size 0"],
    "truncated": ["size 50"],
    "garbage": ["size 100"],
    "missing": ["read FileNotFoundError", "size -1", "write FileNotFoundError"],
    "unreadable": ["read PermissionError", "size -1", "write PermissionError"],
    "read-only": ["size 100", "write PermissionError"],
}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, READER, {"notes": b"0123456789" * 10}) as made:
        yield made


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_met_stays_through_the_restart_and_is_healed_at_the_end(reader: Stage, damage: str) -> None:
    """As root too: permissions bite, because those starts run without the capabilities that would pass them by."""
    history = reader.trial(Damage(path="$CWD/notes", damage=damage))
    account = only(history)
    assert (account.kind, account.fired) == ("file", 1)
    assert account.hits >= 1
    for run in starts(history):
        assert printed(run).decode().splitlines() == SEEN[damage], run.phase
    if damage == "read-only":  # the content is whole, so nothing fails
        assert [run.phase for run in starts(history)] == ["run", "restart"]
        return
    assert [run.phase for run in starts(history)] == ["run", "restart", "restart-again"]
    assert history.good_again is not None
    assert history.good_again.end.code == 0
    assert printed(history.good_again).decode().splitlines() == ["size 100"]
    assert history.resets == ()


def test_garbage_is_drawn_from_the_seed(tmp_path: Path) -> None:
    with staged(tmp_path, "import sys; print(open('notes', 'rb').read().hex())", {"notes": bytes(40)}) as stage:
        fault = Damage(path="$CWD/notes", damage="garbage")
        texts = [printed(first(stage.trial(fault, seed=seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert all(len(text) == 81 for text in texts)


def test_what_is_not_there_cannot_be_damaged(reader: Stage) -> None:
    for fault in (Damage(path="$CWD/none", damage="missing"), Break(path="$CWD/none", what="locked")):
        history = reader.trial(fault)
        account = only(history)
        assert account.fired == 0
        assert "not there" in account.note
        assert first(history).end.code == 0


def test_a_masked_name_is_damaged_where_it_stands_in_this_state(tmp_path: Path) -> None:
    from blackstart.core.calibration import Mask
    from blackstart.core.masking import Masker, rooted

    script = "import glob; print([len(open(name).read()) for name in sorted(glob.glob('log-*'))])"
    with staged(tmp_path, script, {"log-12": b"x" * 30}) as stage:
        mask = rooted(Mask(names=((r"log-\d+$", "log-*"),)), str(stage.cwd), str(stage.home))
        stage.bench.masker = Masker(mask)
        stage.zygote.copy("S0", "S1")
        stage.zygote.remove("S1", str(stage.cwd / "log-12"))
        stage.zygote.write("S1", str(stage.cwd / "log-345"), b"x" * 60)
        for start, expected in (("S0", b"[15]\n"), ("S1", b"[30]\n")):
            history = stage.trial(Damage(path="$CWD/log-*", damage="truncated"), start=start)
            assert printed(first(history)) == expected
            assert only(history).fired == 1


# --- databases --------------------------------------------------------------------------------------------------------

DATABASE = """
import sqlite3, sys
try:
    database = sqlite3.connect('notes.db', timeout=0.2)
    with database:
        database.execute("insert into notes values ('new')")
    print('saved', database.execute('select count(*) from notes').fetchone()[0], flush=True)
except sqlite3.Error as error:
    print(error, flush=True)
    sys.exit(1)
"""


def database(path: Path, mode: str) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute(f"pragma journal_mode={mode}")
    connection.execute("create table notes(text)")
    connection.executemany("insert into notes values (?)", [(f"note {n}" * 50,) for n in range(100)])
    connection.commit()
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_locked_database_is_busy_and_free_again_at_the_restart(tmp_path: Path, mode: str) -> None:
    content = database(tmp_path / "made.db", mode)
    with staged(tmp_path, DATABASE, {"notes.db": content}) as stage:
        history = stage.trial(Break(path="$CWD/notes.db", what="locked"))
        assert only(history).fired == 1
        assert b"locked" in printed(first(history))
        assert [run.phase for run in starts(history)] == ["run", "restart"]
        assert printed(starts(history)[1]) == b"saved 101\n"


@pytest.mark.parametrize(("what", "words"), [("header lost", b"not a database"), ("page lost", b"malformed")])
def test_a_spoilt_database_is_met_and_put_back(tmp_path: Path, what: str, words: bytes) -> None:
    with staged(tmp_path, DATABASE, {"notes.db": database(tmp_path / "made.db", "delete")}) as stage:
        history = stage.trial(Break(path="$CWD/notes.db", what=what))
        assert only(history).fired == 1
        assert words in printed(first(history))
        assert history.good_again is not None
        assert printed(history.good_again) == b"saved 101\n"


# --- during recovery --------------------------------------------------------------------------------------------------

# Work leaves `begun` behind while it is under way; a start that finds it recovers first.
RECOVERING = """
import os
def write(name, text):
    with open(name, 'w') as file:
        file.write(text)
if os.path.exists('begun'):
    write('recovered', open('notes').read())
    os.unlink('begun')
write('begun', 'x')
write('notes', 'new')
os.unlink('begun')
print('done', flush=True)
"""


@pytest.fixture
def recovering(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, RECOVERING, {"notes": b"old"}) as made:
        yield made


def crash(stage: Stage) -> Kill:
    return Kill(point=stage.point("openat|open", "notes"))


@pytest.mark.parametrize(
    "fault",
    [
        Kill(point=Point(call="unlink", path="$CWD/begun", nth=1), phase="restart"),
        Errno(point=Point(call="openat", path="$CWD/recovered", nth=1), error="EACCES", phase="restart"),
        Damage(path="$CWD/notes", damage="truncated", phase="restart"),
        Break(path="$CWD/notes", what="locked", phase="restart"),
    ],
    ids=str,
)
def test_a_fault_in_recovery_comes_after_the_crash_and_before_a_clean_restart(
    recovering: Stage, fault: AnyFault
) -> None:
    history = recovering.trial(crash(recovering), fault)
    assert [run.phase for run in starts(history)] == ["run", "recovery", "restart"]
    assert [account.fired for account in history.injected] == [1, 1]
    assert starts(history)[0].end.how == "killed"
    assert "begun" in recovering.names(starts(history)[0])
    assert (starts(history)[2].end.how, starts(history)[2].end.code) == ("exited", 0)
    assert printed(starts(history)[2]) == b"done\n"
    if isinstance(fault, Kill):
        assert starts(history)[1].end.how == "killed"
        assert {"begun", "recovered"} <= recovering.names(starts(history)[1])
    if isinstance(fault, Errno):
        assert starts(history)[1].end.code == 1


CARELESS = """
import json, os
found = json.load(open('notes')) if os.path.exists('notes') else []
with open('notes', 'w') as file:
    json.dump([*found, 'note'], file)
"""


def test_what_a_broken_recovery_left_is_put_back_to_find_the_culprit(tmp_path: Path) -> None:
    with staged(tmp_path, CARELESS, {"notes": b"[]"}) as stage:
        crash = Kill(point=stage.point("openat|open", "notes", 2))  # nothing has been touched by then
        history = stage.trial(crash, Kill(point=stage.point("write", "notes"), phase="restart"))
    assert [run.phase for run in starts(history)] == ["run", "recovery", "restart", "restart-again"]
    assert [reset.put_back for reset in history.resets if reset.helped] == [(f"{stage.cwd}/notes",)]


def test_damage_in_recovery_of_what_the_crash_took_away_did_not_fire(recovering: Stage) -> None:
    history = recovering.trial(
        Kill(point=recovering.point("openat|open", "begun")), Damage(path="$CWD/begun", damage="empty", phase="restart")
    )
    assert [account.fired for account in history.injected] == [1, 0]
    assert [run.phase for run in starts(history)] == ["run", "restart"]


def test_two_faults_in_one_start_have_their_own_accounts(stage: Stage) -> None:
    one = Errno(point=stage.point("write", "out", 2), error="EIO")
    two = Errno(point=stage.point("mkdir", "made"), error="EACCES")
    history = stage.trial(one, two, patience=PATIENT)
    assert [(account.fault, account.fired) for account in history.injected] == [(str(one), 1), (str(two), 1)]
    assert errors(first(history)) == ["write EIO", "mkdir EACCES"]
