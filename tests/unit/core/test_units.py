"""Durations and sizes are read as people write them."""

from __future__ import annotations

import pytest

from blackstart.core.units import UnitError, format_duration, format_size, parse_duration, plural


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2m", 120), ("1h30m", 5400), ("50ms", 0.05), ("1.5s", 1.5), ("250us", 0.00025), ("0s", 0), (" 1m30s ", 90)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a duration"),
        ("2", "'2' has no unit"),
        ("2 m", "'2 m' is not a duration"),
        ("2min", "no unit of time 'min' in '2min'"),
        ("30m1h", "the units of '30m1h' do not go from large to small"),
        ("1m1m", "the units of '1m1m' do not go from large to small"),
        ("2m!", "'2m!' is not a duration"),
        ("-2m", "'-2m' is not a duration"),
        ("1e3s", "no unit of time 'e' in '1e3s'"),
        ("nan", "'nan' is not a duration"),
    ],
)
def test_a_bad_duration_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert caught.value.what == message
    assert caught.value.next_step == "write it like 50ms, 2s, 2m or 1h30m"


def test_a_number_alone_has_the_unit_that_the_caller_names() -> None:
    assert parse_duration("50", bare="ms") == 0.05
    assert parse_duration("2", bare="s") == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.05, "50ms"), (1.5, "1.5s"), (120, "2m"), (5400, "1h30m"), (3600, "1h"), (0.00025, "250us")]
    + [(59.9999999, "1m"), (3661.5, "1h1m1.5s"), (0.0123, "12.3ms")],
)
def test_a_duration_is_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (9_999, "9999 bytes"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (187_432_960, "187 MB"),
        (64_000_000, "64 MB"),
        (5 * 10**15, "5e+03 TB"),
    ],
)
def test_a_size_is_shown_in_three_digits(size: int, text: str) -> None:
    assert format_size(size) == text


def test_one_of_a_thing_has_no_plural() -> None:
    assert [plural(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [plural(number, "policy", "policies") for number in (1, 2)] == ["1 policy", "2 policies"]
