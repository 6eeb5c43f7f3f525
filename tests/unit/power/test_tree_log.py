"""btrfs writes its trees as a whole: out of order comes only what an fsync put into its log.

Shown by real btrfs in a guest (tests/machines, workloads 22 and 23).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.core.trace import DIRECTORY, FILE, Operation
from blackstart.power import MODELS, Explorer, Recording, Spill, StartEntry, Tape

NAMES = "d/f d/g d/old log"  # what stands there before


def told(tmp_path: Path, *calls: tuple[str, ...]) -> Recording:
    """The recording of these calls: (call, path, [second path or bytes]); below /w are d/f, d/g, d/old and log."""
    start = [StartEntry("/w", "directory"), StartEntry("/w/d", "directory")]
    for name in NAMES.split():
        (tmp_path / "start").write_bytes(b"old")
        start.append(StartEntry(f"/w/{name}", "file", 3, source=str(tmp_path / "start")))
    tape = Tape(start, Spill(), read_now=lambda path: None)
    for number, (call, path, *more) in enumerate(calls):
        fields: dict[str, object] = {"kind": DIRECTORY if call in ("mkdir", "rmdir") or path == "d" else FILE}
        if call == "pwrite64":
            fields |= {"data": more[0].encode(), "offset": 0, "size": len(more[0])}
        elif call in ("rename", "link"):
            fields["path2"] = f"/w/{more[0]}"
        elif call == "openat":
            fields["flags"] = 0o102  # made, for reading and writing
        tape.before(Operation(index=number, call=call, path=f"/w/{path}", masked=path, nth=number, thread=1, **fields))  # type: ignore[arg-type]
    return tape.recording


def layouts(recording: Recording, model: str) -> set[frozenset[str]]:
    """The names that may stand there."""
    explorer = Explorer(recording, MODELS[model])
    return {frozenset(path[3:] for path in explorer.names.layout(s.mask)) for s in explorer.states()}


def test_without_an_fsync_names_change_in_order(tmp_path: Path) -> None:
    recording = told(tmp_path, ("mkdir", "n"), ("link", "d/f", "n/f"), ("rename", "log", "d/log"), ("unlink", "d/g"))
    none = frozenset(path[3:] for path in recording.names.start)
    assert layouts(recording, "btrfs") == layouts(recording, "kill9") | {none} < layouts(recording, "posix")


@pytest.mark.parametrize("last", [("rename", "d/g", "d/h"), ("unlink", "d/g"), ("mkdir", "d/n")], ids=lambda c: c[0])
def test_what_no_fsync_concerns_has_all_that_was_done_before_it(tmp_path: Path, last: tuple[str, ...]) -> None:
    """A good program: the new file is synced and renamed, and only then something else is done away with."""
    careful = [("openat", "d/tmp"), ("pwrite64", "d/tmp", "new"), ("fsync", "d/tmp"), ("rename", "d/tmp", "d/f")]
    recording = told(tmp_path, *careful, last)
    explorer = Explorer(recording, MODELS["btrfs"])
    done = recording.steps_of[len(recording.operations) - 1][0]
    after = [s for s in explorer.states() if s.mask >> done & 1]
    assert after and all(s.mask == explorer.order.effects for s in after)


def test_a_size_that_no_fsync_concerns_has_the_names_that_were_changed_before_it(tmp_path: Path) -> None:
    recording = told(tmp_path, ("rename", "log", "kept"), ("pwrite64", "d/f", "longer than before"))
    order = recording.order(MODELS["btrfs"])
    for step in recording.micros[2:]:
        assert order.needs[step.index] & 0b11 == 0b11, step


def test_an_fsync_takes_a_name_along_before_what_was_done_earlier(tmp_path: Path) -> None:
    """The object of a reference may be missing: it was synced, and a commit fell before its link was made."""
    recording = told(
        tmp_path,
        ("openat", "d/t"), ("pwrite64", "d/t", "object"), ("fsync", "d/t"), ("link", "d/t", "d/o"), ("unlink", "d/t"),
        ("openat", "lock"), ("pwrite64", "lock", "o"), ("fsync", "lock"), ("rename", "lock", "log"),
    )  # fmt: skip
    replaced = recording.steps_of[len(recording.operations) - 1][-1]
    for model, may in (("btrfs", True), ("ext4", False), ("xfs", False)):
        explorer = Explorer(recording, MODELS[model])
        after = [explorer.names.layout(s.mask) for s in explorer.states() if s.mask >> replaced & 1]
        assert after and any("/w/d/o" not in names for names in after) == may, model


@pytest.mark.parametrize(
    ("calls", "may"),
    [
        ([("rename", "d/f", "n"), ("unlink", "d/old"), ("fsync", "d")], True),
        ([("rename", "d/f", "n"), ("unlink", "d/old"), ("fsync", "log")], False),
        ([("rename", "log", "n"), ("unlink", "d/old"), ("rename", "d/f", "d/h"), ("fsync", "d/h")], True),
        ([("rename", "log", "n"), ("unlink", "d/old"), ("pwrite64", "d/g", "x"), ("fsync", "d/g")], False),
        ([("rename", "log", "n"), ("unlink", "d/old"), ("openat", "d/old"), ("fsync", "d/old")], True),
        ([("rename", "log", "n"), ("mkdir", "m"), ("rename", "d/old", "m/x"), ("fsync", "m")], True),
    ],
    ids=["its directory", "another file", "moved itself", "not moved", "a name used again", "a new directory"],
)
def test_the_log_holds_what_it_may_at_most(tmp_path: Path, calls: list[tuple[str, ...]], may: bool) -> None:
    recording = told(tmp_path, *calls)
    order = recording.order(MODELS["btrfs"])
    gone = next(m for m in recording.micros if m.name == "old" and m.directory >= 0)
    first = recording.steps_of[0]
    assert all(order.needs[gone.index] >> step & 1 for step in first) != may
