"""Each advice on a power cut, followed: the bad program is told it, and with it applied nothing is found.

Those on syncs that fail, and on letting recovery be able to begin again, are shown in test_twice.py.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, combinations, product
from pathlib import Path

import pytest

from blackstart.core.history import Cut
from blackstart.findings.advice import power_advice
from blackstart.testing import crash_states, explain, materialise, record

OLD, NEW = "o" * 100, "n" * 9000
PROGRAM = """
import os
with open("d.tmp", "w") as f:
    f.write("n" * 9000)
    f.flush(){fsync}
os.rename("d.tmp", "d"){directory}
os.write(1, b"saved\\n")
"""
FSYNC = "\n    os.fsync(f.fileno())"
DIRECTORY = "\nd = os.open('.', os.O_RDONLY); os.fsync(d); os.close(d)"
IN_PLACE = PROGRAM.replace('"d.tmp"', '"d"', 1).replace('os.rename("d.tmp", "d")', "")
KINDS = ("data", "size", "cut", "entry", "torn", "garbage", "dropped")
TWICE = "Recovery must be as careful as the work itself, and must be able to begin again: remove what it recovers "
# The words by which each is known -> (bad, good): what is asked for, and no more, is the difference.
GOOD = PROGRAM.format(fsync=FSYNC, directory=DIRECTORY)
PAIRS = {
    "After the rename, creation or removal": (PROGRAM.format(fsync=FSYNC, directory=""), GOOD),
    "Flush and fsync the temporary file": (PROGRAM.format(fsync="", directory=DIRECTORY), GOOD),
    "fsync the file, and after a rename its directory, before acknowledging (printing, answering).": (
        IN_PLACE.format(fsync="", directory=""),
        IN_PLACE.format(fsync=FSYNC, directory=""),
    ),
    "fsync the file, and after a rename its directory, before acknowledging (printing, answering). Write": (
        PROGRAM.format(fsync="", directory=""),
        GOOD,
    ),
    "Write the new content to a temporary file": (IN_PLACE.format(fsync=FSYNC, directory=""), GOOD),
}
TAIL = "On start, cut a file that is only appended to off after its last whole record"
APPENDED = "fsync a file after appending to it, before acknowledging"
ORDERED = "Let a file be on the disk by its name before anything is written that relies on it"
STUCK = "Let nothing that outlives a kill block the next start"  # shown by the twins of `stuck`
ELSEWHERE = ("Do not call fsync again", "Take a failed fsync for a failed write", TWICE, TAIL, APPENDED, ORDERED, STUCK)


def of(text: str) -> str:
    """The words by which this advice is known; the longest that it begins with."""
    return max((known for known in (*PAIRS, *ELSEWHERE) if text.startswith(known)), key=len, default=text)


def test_no_advice_is_given_that_is_not_tried_here() -> None:
    given = set()
    for kinds in chain.from_iterable(combinations(KINDS, count) for count in range(len(KINDS) + 1)):
        names = ("moved", "appended", "again", "unordered")
        for *flags, consequence in product(*[(True, False)] * 4, ("lost", "corrupt", "stuck")):
            more = dict(zip(names, flags, strict=True))
            cut = Cut(model="ext4", lost_kinds=kinds, paths=("a",), is_real=True, **more)
            for hurt, cuts in product(((), ("a",), ("b",)), ([cut], [cut, cut])):
                given.add(of(power_advice(cuts, consequence, "defect", hurt)))
    assert given == {*PAIRS, *ELSEWHERE}


def told(place: Path, program: str, model: str) -> dict[str, str]:
    """Consequence and advice of every state in which the file is neither old nor new, or not what was said."""
    place.mkdir()
    (place / "d").write_text(OLD)
    recording = record([sys.executable, "-I", "-S", "-c", program], state=place, cwd=place)
    found: dict[str, str] = {}
    for state in crash_states(recording, model, with_kills=True):
        inode = recording.names.layout(state.mask).get(str(place / "d"))
        content = b"" if inode is None else recording.contents.content(inode, state.mask, state.garbage)
        text = content.decode()
        consequence = "corrupt" if text not in (OLD, NEW) else "lost" if recording.outputs_before(state.cut) else ""
        if consequence and text != NEW:
            cut = explain(recording, state)
            found[of(power_advice([cut], consequence, "defect", [str(place / "d")]))] = consequence
    return found


@pytest.mark.live
@pytest.mark.parametrize("words", PAIRS)
def test_with_the_advice_followed_what_it_was_given_for_vanishes(tmp_path: Path, words: str) -> None:
    bad, good = PAIRS[words]
    said = told(tmp_path / "bad", bad, "xfs")
    assert words in said, said
    kept = told(tmp_path / "good", good, "xfs")
    assert words not in kept and (good != GOOD or not kept), kept


# Appends a line; a start first reads all there are, strictly or up to the last whole one.
LINES = """
import os
with open("d", "ab+", buffering=0) as log:
    log.seek(0)
    whole = log.read()
    {tail}
    assert all(set(line) <= set(b"on") for line in whole.split(b"\\n"))
    log.write(b"n" * 50 + b"\\n")
    os.fsync(log.fileno())
"""
TOLERANT = """whole = whole[:whole.rindex(b"\\n") + 1]
    log.truncate(len(whole))"""


@pytest.mark.live
def test_a_log_that_is_cut_off_after_its_last_whole_record_starts_again(tmp_path: Path) -> None:
    failed = {}
    for name, tail in (("strict", ""), ("tolerant", TOLERANT)):
        place = tmp_path / name
        place.mkdir()
        (place / "d").write_text(OLD + "\n")
        command = [sys.executable, "-I", "-S", "-c", LINES.format(tail=tail)]
        recording = record(command, state=place, cwd=place)
        failed[name] = set()
        for number, state in enumerate(crash_states(recording, "ext4")):
            disk = tmp_path / f"{name}-{number}"
            materialise(recording, state, disk)
            if subprocess.run(command, cwd=disk, stderr=subprocess.DEVNULL, check=False).returncode:
                failed[name].add(of(power_advice([explain(recording, state)], "stuck", "defect")))
    assert failed == {"strict": {TAIL}, "tolerant": set()}


@pytest.mark.live
def test_a_line_that_is_synced_before_it_is_acknowledged_is_there(tmp_path: Path) -> None:
    told = {}
    for name, sync in (("bad", ""), ("good", "os.fsync(log)")):
        place = tmp_path / name
        place.mkdir()
        (place / "d").write_text(OLD + "\n")
        program = f"import os; log = os.open('d', os.O_WRONLY | os.O_APPEND); os.write(log, b'n\\n'); {sync}"
        recording = record(
            [sys.executable, "-I", "-S", "-c", f"{program}\nos.write(1, b'kept')"], state=place, cwd=place
        )
        lost = [
            state
            for state in crash_states(recording, "xfs", with_kills=True)
            if recording.outputs_before(state.cut)
            and b"n" not in recording.contents.content(recording.names.layout(state.mask)[str(place / "d")], state.mask)
        ]
        told[name] = {of(power_advice([explain(recording, state)], "lost", "defect")) for state in lost}
    assert told == {"bad": {APPENDED}, "good": set()}


# An object that others refer to, and then the reference, each synced and renamed.
OBJECT = """
import os
def put(name, text):
    f = os.open(name + ".tmp", os.O_CREAT | os.O_WRONLY)
    os.write(f, text)
    os.fsync(f)
    os.close(f)
    os.rename(name + ".tmp", name)
put("objects/new", b"object")
{directory}
put("head", b"new")
"""
OBJECTS = "d = os.open('objects', os.O_RDONLY); os.fsync(d); os.close(d)"


@pytest.mark.live
def test_what_relies_on_a_name_is_not_there_without_it_once_its_directory_is_synced(tmp_path: Path) -> None:
    told = {}
    for name, directory in (("bad", ""), ("good", OBJECTS)):
        place = tmp_path / name
        (place / "objects").mkdir(parents=True)
        (place / "head").write_text("old")
        program = OBJECT.format(directory=directory)
        recording = record([sys.executable, "-I", "-S", "-c", program], state=place, cwd=place)
        told[name] = set()
        for state in crash_states(recording, "btrfs", with_kills=True):
            layout = recording.names.layout(state.mask)
            head = recording.contents.content(layout[str(place / "head")], state.mask)
            if head == b"new" and str(place / "objects/new") not in layout:
                told[name].add(of(power_advice([explain(recording, state)], "corrupt", "defect")))
    assert told == {"bad": {ORDERED}, "good": set()}
