"""Bad and good programs as people write them, run without any configuration or with a check: links, records, numbers.

Each bad one is found, with the consequence it has; its good neighbour gives nothing above a note.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, run

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

RELEASE = """
import os, sys
os.makedirs("releases", exist_ok=True)
new = f"releases/{len(os.listdir('releases')) + 1}"
os.mkdir(new)
if os.environ["MODE"] == "bad":
    try:
        if os.path.lexists("current"):
            os.unlink("current")
        os.symlink(new, "current")
    except OSError:
        pass
else:
    try:
        if os.path.lexists("next"):
            os.unlink("next")
        os.symlink(new, "next")
        os.replace("next", "current")
    except OSError as error:
        sys.exit(f"cannot switch: {error}")
print("switched")
"""
RECORDS = """
import os, struct, sys
HEAD, RECORD = struct.Struct("<4sI"), struct.Struct("<24sQ")
good = os.environ["MODE"] == "good"
store = os.open("stock.dat", os.O_RDWR | os.O_CREAT, 0o644)
count = HEAD.unpack(os.pread(store, HEAD.size, 0) or HEAD.pack(b"STK1", 0))[1]
if sys.argv[1] == "add":
    steps = [
        lambda: os.pwrite(store, RECORD.pack(b"screw", 9), HEAD.size + count * RECORD.size),
        lambda: os.pwrite(store, HEAD.pack(b"STK1", count + 1), 0),
    ]
    for step in steps if good else reversed(steps):
        step()
    os.fsync(store)
    print("added", count + 1)
for number in range(count) if sys.argv[1] == "list" else ():
    record = os.pread(store, RECORD.size, HEAD.size + number * RECORD.size)
    if len(record) < RECORD.size:
        sys.exit(f"record {number} is missing")
    name, amount = RECORD.unpack(record)
    print(name.rstrip(b"\\0").decode(), amount)
"""
TICKETS = """
import json, os
os.makedirs("tickets", exist_ok=True)

def put(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)

number = json.load(open("next.json")) if os.path.exists("next.json") else 1
put("next.json", number + 1)
put(f"tickets/{number}.json", {"text": "call back"})
print("created", number)
"""
KEEPER = """
import json, os, tempfile
notes = json.load(open("notes.json")) if os.path.exists("notes.json") else []
notes.append("a note")
handle, name = tempfile.mkstemp(dir=".", prefix="notes-")
try:
    with os.fdopen(handle, "w") as file:
        json.dump(notes, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, "notes.json")
except BaseException:
    os.unlink(name)
    raise
directory = os.open(".", os.O_RDONLY)
os.fsync(directory)
os.close(directory)
print(len(notes), "notes")
"""

SPOOL = """
mkdir -p tmp new
name=$(date +%s%N).$$
to=new/$name
[ "$MODE" = good ] && to=tmp/$name
{ echo 'Subject: hello'; echo; echo 'all is well'; } > "$to" || exit 1
sync "$to" || exit 1
[ "$to" = "new/$name" ] || mv "$to" "new/$name" || exit 1
sync new
"""


def written(place: Path, text: str) -> list[str]:
    (place / "program.py").write_text(text)
    return [PYTHON, str(place / "program.py")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


@pytest.mark.parametrize(("mode", "found"), [("bad", {"silent"}), ("good", set())])
def test_a_link_that_was_not_made_is_noticed(place: Path, mode: str, found: set[str]) -> None:
    ran = run(written(place, RELEASE), place, "--only", "errno", env={"MODE": mode})
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    assert any("$CWD/current" in f["paths"] for f in ran.defects) == bool(found), ran.said()


@pytest.mark.parametrize(("mode", "found"), [("bad", {"corrupt"}), ("good", set())])
def test_a_header_that_tells_of_a_record_not_yet_written(place: Path, mode: str, found: set[str]) -> None:
    command = written(place, RECORDS)
    check = " ".join([*command, "list"])
    ran = run([*command, "add"], place, "--only", "kill", "--check", check, env={"MODE": mode})
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    if found:
        assert "is missing" in str([f["evidence"] for f in ran.defects]), ran.said()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [(TICKETS, "kill"), (KEEPER, "kill,signal")],
    ids=["numbers that are left out", "names at random"],
)
def test_careful_programs_that_look_otherwise_give_nothing(place: Path, text: str, kinds: str) -> None:
    ran = run(written(place, text), place, "--only", kinds)
    assert ran.status == 0 and not ran.defects, ran.said()


@pytest.mark.parametrize(("mode", "found"), [("bad", {"corrupt"}), ("good", set())])
def test_a_message_that_a_kill_leaves_half_made_in_a_spool(place: Path, mode: str, found: set[str]) -> None:
    (place / "deliver").write_text(SPOOL)
    ran = run(["sh", str(place / "deliver")], place, "--only", "kill", env={"MODE": mode})
    assert {f["consequence"] for f in ran.defects} == found, ran.said()
    if found:
        assert "one of 3 files $CWD/new/*, holds" in str([f["evidence"] for f in ran.defects]), ran.said()
