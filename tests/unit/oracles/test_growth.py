"""Which files are only appended to: twins of one growing file."""

from __future__ import annotations

import msgspec
import pytest

from blackstart.core.reading import FileState
from blackstart.core.trace import Operation
from blackstart.oracles.growth import kept, moved_aside, only_appended, removed_first, taken_away
from tests.unit.oracles.build import calibration, clean, file

PATH = "$CWD/orders.txt"
APPENDS, TRUNCATES = 0o2001, 0o1001
LINES = b"1 hammer\n2 nails\n"
OPENS = Operation(index=1, call="openat", path="/w/orders.txt", masked=PATH, flags=APPENDS)
EMPTIES = Operation(index=1, call="openat", path="/w/orders.txt", masked=PATH, flags=TRUNCATES)
RENAMES = Operation(index=2, call="rename", path="/w/new", masked="$CWD/new", path2="/w/orders.txt")


@pytest.mark.parametrize(
    ("more", "operations", "is_appended"),
    [
        (b"3 saw\n", (OPENS,), True),
        (b"3 saw\n", (OPENS, RENAMES), False),
        (b"3 saw\n", (EMPTIES,), False),
        (b"", (OPENS,), False),
    ],
)
def test_a_file_is_appended_to_where_it_grows_and_is_never_replaced(
    more: bytes, operations: tuple[Operation, ...], is_appended: bool
) -> None:
    before, after = file(LINES, PATH), file(LINES + more, PATH)
    one = clean(1, versions={PATH: (before, after)}, files={PATH: after}, trace=operations)
    assert only_appended(calibration(roles={PATH: "state"}, chain=(one,))) == ({PATH} if is_appended else set())


@pytest.mark.parametrize(("name", "is_appended"), [("orders.csv", True), ("orders.json", False)])
def test_rows_more_are_appended_too(name: str, is_appended: bool) -> None:
    path, text = f"$CWD/{name}", {"orders.csv": (b"a,1\n", b"a,1\nb,2\n"), "orders.json": (b"[1]", b"[1, 2]")}[name]
    before, after = (file(one, path) for one in text)
    one = clean(1, versions={path: (before, after)}, files={path: after})
    assert bool(only_appended(calibration(roles={path: "state"}, chain=(one,)))) == is_appended


def test_a_file_whose_lines_change_is_rewritten_and_a_log_is_nobodys() -> None:
    before = file(LINES, PATH)
    for after, role in ((file(b"1 hammer\n2 nuts\n3 saw\n", PATH), "state"), (file(LINES + b"3 saw\n", PATH), "log")):
        one = clean(1, versions={PATH: (before, after)}, files={PATH: after}, trace=(OPENS,))
        assert only_appended(calibration(roles={PATH: role}, chain=(one,))) == set()


@pytest.mark.parametrize(("call", "is_taken"), [("unlinkat", True), ("write", False)])
def test_a_task_is_taken_away_and_never_written(call: str, is_taken: bool) -> None:
    one = Operation(index=1, call=call, path="/w/orders.txt", masked=PATH, size=4, kind="file")
    trace = (one, msgspec.structs.replace(one, call="unlink", index=2))[: 2 if call == "write" else 1]
    known = calibration(roles={PATH: "state"}, chain=(clean(1, trace=trace),))
    assert taken_away(known) == (frozenset({PATH}) if is_taken else frozenset())


@pytest.mark.parametrize("away", ["unlink", "rename"])
@pytest.mark.parametrize(
    ("order", "stood", "is_gap"), [((0, 1), True, True), ((1, 0), True, False), ((0, 1), False, False)]
)
def test_a_file_is_removed_or_moved_away_before_a_new_one_is_renamed_to_its_name(
    order: tuple[int, int], stood: bool, is_gap: bool, away: str
) -> None:
    backup = "/w/orders.bak" if away == "rename" else ""
    steps = (msgspec.structs.replace(OPENS, call=away, path2=backup), RENAMES)
    versions = {PATH: (file(LINES, PATH) if stood else None, None, file(b"1 saw\n", PATH))}
    one = clean(1, versions=versions, trace=tuple(steps[k] for k in order))
    assert removed_first(calibration(roles={PATH: "state"}, chain=(one,))) == ({PATH} if is_gap else set())


@pytest.mark.parametrize(("stands", "more", "is_backup"), [
    (True, (), True),
    (False, (), False),  # a task that is moved to what is done
    (True, (msgspec.structs.replace(EMPTIES, path="/w/orders.bak", masked="$CWD/orders.bak"),), False),
])  # fmt: skip
def test_a_backup_is_made_by_renaming_a_file_that_is_made_anew(
    stands: bool, more: tuple[Operation, ...], is_backup: bool
) -> None:
    away = msgspec.structs.replace(RENAMES, path="/w/orders.txt", masked=PATH, path2="/w/orders.bak")
    files = {"$CWD/orders.bak": file(LINES)} | ({PATH: file(LINES)} if stands else {})
    one = clean(1, files=files, trace=(away, RENAMES, *more))
    roles = {PATH: "state", "$CWD/orders.bak": "output", "$CWD/new": "scratch"}
    assert moved_aside(calibration(roles=roles, chain=(one,))) == ({"$CWD/orders.bak"} if is_backup else set())


@pytest.mark.parametrize(
    ("role", "after", "is_kept"),
    [
        ("state", LINES, True),
        ("cache", LINES, True),
        ("lock", LINES, False),
        ("state", b"", False),
        ("state", None, False),
    ],
)
def test_what_is_kept_is_content_that_each_clean_run_leaves(role: str, after: bytes | None, is_kept: bool) -> None:
    ends: list[dict[str, FileState]] = [{} if text is None else {PATH: file(text, PATH)} for text in (LINES, after)]
    runs = [clean(start, files=files) for start, files in enumerate(ends)]
    assert kept(calibration(roles={PATH: role}, chain=tuple(runs))) == ({PATH} if is_kept else set())
