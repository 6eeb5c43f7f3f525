"""What a removed file held must stand somewhere: a segment that a compactor leaves away may go, its values may not."""

from __future__ import annotations

from typing import Any

import pytest

from blackstart.core.calibration import Calibration
from blackstart.core.history import KILLED, End
from blackstart.core.reading import FileState
from blackstart.core.verdict import FAILED, PASSED, Verdict
from blackstart.oracles import state
from tests.unit.oracles.build import calibration, clean, file, history, rerun, run

ONE, TWO, THREE, FOUR = (f"$CWD/{number}.seg" for number in range(1, 5))
ALL = "key1=v1\nkey2=v2\n"


def seg(path: str, text: str) -> FileState:
    return file(text.encode(), path)


def step(start: int, old: dict[str, str], new: dict[str, str], **changes: Any) -> Any:
    """A clean run that finds the old segments and leaves the new ones."""
    paths = old.keys() | new.keys()
    versions = {path: tuple(seg(path, one[path]) if path in one else None for one in (old, new)) for path in paths}
    files = {path: seg(path, text) for path, text in new.items()}
    return clean(start, files=files, versions=versions, acknowledgements=(), **changes)


def yardstick(**changes: Any) -> Calibration:
    """The run from S1 merges two segments into a third, the next one adds a fourth; any of them may be missing."""
    old, merged = {ONE: "key1=v1\n", TWO: "key2=v2\n"}, {THREE: ALL + "key3=v3\n"}
    chain = (
        step(0, {ONE: "key1=v1\n"}, old),
        step(1, old, merged),
        step(2, merged, {**merged, FOUR: "key4=v4\n"}),
        step(3, {**merged, FOUR: "key4=v4\n"}, {**merged, FOUR: "key4=v4\nkey5=v5\n"}),
    )
    anywhere = tuple(rerun(seg(path, old[path]), None, path) for path in old) + (rerun(None, None, THREE),)
    roles = dict.fromkeys((ONE, TWO, THREE, FOUR), "state")
    return calibration(**{"roles": roles, "chain": chain, "boundary_reruns": {"S1": anywhere}, **changes})


def judge(left: dict[str, str], **changes: Any) -> Verdict:
    first = run("run", {}, end=End(how=KILLED))
    again = run("restart", {path: seg(path, text) for path, text in left.items()})
    return state.judge(history("kill", (first, again)), yardstick(**changes))[0]


@pytest.mark.parametrize("place", [THREE, FOUR, "$CWD/5.seg"])
def test_a_value_may_stand_in_any_file(place: str) -> None:
    assert judge({place: ALL + "key3=v3\n"}).consequence != "lost"


def test_a_value_that_stands_nowhere_any_more_is_lost() -> None:
    found = judge({FOUR: "key2=v2\nkey3=v3\n"})
    assert (found.outcome, found.consequence, set(found.paths)) == (FAILED, "lost", {ONE}), found
    (text,) = found.evidence
    assert text == f"{ONE} is gone, and no file holds `key1=v1` any more, which every clean run keeps"


def test_what_a_clean_run_drops_too_may_go() -> None:
    chain = yardstick().chain
    dropping = (*chain[:2], step(2, {THREE: ALL}, {FOUR: "key2=v2\nkey3=v3\n"}), chain[3])
    assert judge({FOUR: "key2=v2\nkey3=v3\n"}, chain=dropping).outcome == PASSED


def test_what_may_stand_where_nobody_can_read_it_is_not_called_lost() -> None:
    first = run("run", {}, end=End(how=KILLED))
    again = run("restart", {"$CWD/store.bin": file(b"\0\1\2\xff" * 20, "$CWD/store.bin")})
    verdicts = state.judge(history("kill", (first, again)), yardstick())
    assert all("no file holds" not in text for verdict in verdicts for text in verdict.evidence)
