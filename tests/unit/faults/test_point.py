"""Which points of many are tried, and that none is lost from the count."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.history import Life
from blackstart.core.trace import Operation
from blackstart.faults.point import Point, slim, spread, unplanned

from .build import NOTES, clean, trace


def test_a_group_is_tried_at_its_first_its_middle_and_its_last() -> None:
    points = spread(trace(*[("write", NOTES, {"size": 10})] * 9))
    assert [(point.nth, places) for point, places in points] == [(1, 7), (5, 1), (9, 1)]


def test_small_groups_are_tried_whole() -> None:
    for count in (1, 2, 3):
        points = spread(trace(*[("write", NOTES)] * count))
        assert [point.nth for point, _ in points] == list(range(1, count + 1))


def test_calls_paths_and_functions_are_apart() -> None:
    first, second = ("app.py:save:10", "app.py:main:1"), ("app.py:load:30",)
    operations = trace(
        ("write", NOTES, {"site": first}),
        ("write", NOTES, {"site": second}),
        ("write", "$CWD/other", {"site": first}),
        ("fsync", NOTES, {"site": first}),
    )
    assert len(spread(operations)) == 4


def test_another_line_of_the_same_function_is_the_same_group() -> None:
    operations = trace(*[("write", NOTES, {"site": (f"app.py:save:{line}",)}) for line in range(50)])
    assert len(spread(operations)) == 3


def test_what_a_service_does_for_its_users_comes_before_what_it_does_to_get_ready() -> None:
    operations = trace(*[("write", NOTES, {"at_s": float(second)}) for second in range(9)])
    served = msgspec.structs.replace(clean(operations), life=Life(ready_s=2.0))
    points = spread(operations, served)
    assert [point.nth for point, _ in points] == [3, 1, 6, 2, 9]
    assert sum(places for _, places in points) == 9
    assert spread(operations, clean(operations)) == spread(operations)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["write", "fsync", "rename"]), st.sampled_from([NOTES, "$CWD/b"])), max_size=40
)


@given(OPERATIONS)
def test_every_operation_is_stood_for_exactly_once(rows: list[tuple[str, str]]) -> None:
    points = spread(trace(*rows))
    assert sum(places for _, places in points) == len(rows)
    assert len({(point.call, point.path, point.nth) for point, _ in points}) == len(points)
    for point, places in points:
        assert places >= 1
        assert point.operation is not None
        assert (point.call, point.path, point.nth) == (
            point.operation.call,
            point.operation.masked,
            point.operation.nth,
        )


def test_a_point_keeps_nothing_that_differs_in_the_next_run() -> None:
    operation = Operation(index=3, call="write", masked=NOTES, data=b"secret", at_s=1.5)
    assert slim(operation).data == b""
    assert slim(operation).at_s == 0.0
    point = spread([operation])[0][0]
    assert unplanned(point) == Point(call="write", path=NOTES, nth=1)


def test_stars_and_bars_in_a_name_mean_themselves() -> None:
    match = Point(call="write", path="$CWD/a*|b", nth=1).tamper("@1 kill").match
    assert match.exact
    assert match.path == "$CWD/a*|b"
