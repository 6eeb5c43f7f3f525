"""What the lines of a workload mean, garbage included. covers: L-2, G-8"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.history import Act, Output
from blackstart.targets.workload import acts, read


@pytest.mark.parametrize(
    ("line", "act"),
    [
        ("ok a", Act(how="ok", id="a")),
        ("fail b 12.5", Act(how="fail", id="b", latency_ms=12.5)),
        ("info c soon", Act(how="info", id="c")),
        ("ok d -3", Act(how="ok", id="d", latency_ms=0.0)),
        ("ok e nan", Act(how="ok", id="e")),
        ("ok f 1e999", Act(how="ok", id="f")),
        ("stored item 7", Act(how="ok", id="stored item 7")),
        ("ok", Act(how="ok", id="ok")),
        ("   ", None),
    ],
)
def test_one_line(line: str, act: Act | None) -> None:
    assert read(line) == act


def test_lines_may_come_in_pieces_and_the_last_one_needs_its_end() -> None:
    pieces = [b"ok o", b"ne\nok t", b"wo\nok thr"]
    outputs = [Output(stream="stdout", data=data, at_s=at) for at, data in enumerate(pieces)]
    outputs.insert(1, Output(stream="stderr", data=b"ok nobody\n"))
    assert [(act.id, act.at_s) for act in acts(outputs)] == [("one", 1.0), ("two", 2.0)]


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_any_bytes_are_read(pieces: list[bytes]) -> None:
    found = acts([Output(stream="stdout", data=data) for data in pieces])
    assert len(found) <= b"".join(pieces).count(b"\n")
    assert all(act.how in ("ok", "fail", "info") and act.id for act in found)
