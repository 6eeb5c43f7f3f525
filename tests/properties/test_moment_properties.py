"""A moment is found as it was written, whenever that was, and only there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from blackstart.surface.moment import Moment, cut, shape, spans, tells

FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%d-%H%M%S", "%d/%b/%Y:%H:%M:%S +0000", "%d.%m.%Y %H:%M",
           "%b %d %H:%M:%S", "%Y-%m-%d", "%H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%Y_%m_%d")  # fmt: skip
moments = st.datetimes(datetime(2001, 9, 10), datetime(2099, 12, 31)).map(
    lambda at: at.replace(tzinfo=UTC, microsecond=0)
)
around = st.text("ab :[]=,", max_size=8)


def run_at(at: datetime) -> Moment:
    return Moment(began_s=at.timestamp(), ended_s=at.timestamp() + 0.5)


@settings(deadline=None)
@given(moments, st.sampled_from(FORMATS), moments)
def test_what_the_clock_says_is_found_and_its_shape_fits_any_other_time(
    at: datetime, form: str, other: datetime
) -> None:
    text = f"{at:{form}}"
    assert tells(text, run_at(at)), text
    assert re.fullmatch(shape(text), f"{other:{form}}")


@settings(deadline=None)
@given(moments, st.sampled_from(FORMATS), around, around)
def test_pieces_join_to_the_text_and_each_part_tells(at: datetime, form: str, head: str, tail: str) -> None:
    text = f"{head} {at:{form}} {tail}"
    parts = spans(text, run_at(at))
    assert "".join(cut(text, parts)) == text
    assert parts == sorted(parts) and all(end <= after for (_, end), (after, _) in pairwise(parts))


@settings(deadline=None)
@given(moments, st.sampled_from(("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y")), st.integers(2, 5000))
def test_another_day_is_none_of_it(at: datetime, form: str, days: int) -> None:
    other = at - timedelta(days=days)
    ambiguous = {at.month, at.day} == {other.month, other.day} and at.year == other.year
    assert ambiguous or not tells(f"{other:{form}}", run_at(at))


@settings(deadline=None)
@given(st.text(max_size=80), moments)
def test_no_text_breaks_it(text: str, at: datetime) -> None:
    for start, end in spans(text, run_at(at), is_name=True):
        assert 0 <= start < end <= len(text)
        re.compile(shape(text[start:end]))
