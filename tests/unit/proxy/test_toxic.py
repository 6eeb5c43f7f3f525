"""Whom a toxic hits: toxicity, rules, windows; and what is refused. covers: R-19"""

from __future__ import annotations

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.core.randomness import Seed
from blackstart.proxy.toxic import Toxic, parse_window
from blackstart.proxy.toxics.noop import Noop


def struck(rule: str = "", toxicity: float = 1, count: int = 10, seed: int = 1) -> list[int]:
    toxic = Toxic("t", "downstream", Noop(), toxicity, rule)
    toxic.seed(Seed(seed))
    return [number for number in range(1, count + 1) if toxic.strikes(number)]


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("", list(range(1, 11))),
        ("@3", [3]),
        ("3*", [1, 2, 3]),
        ("@8+", [8, 9, 10]),
        ("@2+3", [2, 5, 8]),
        ("2* off -> @5+", [5, 6, 7, 8, 9, 10]),
        ("@1 -> @4", [1, 4]),
    ],
)
def test_a_rule_counts_the_connections(rule: str, numbers: list[int]) -> None:
    assert struck(rule) == numbers


def test_chance_is_the_same_for_the_same_seed_and_not_for_another() -> None:
    for options in ({"rule": "20%"}, {"toxicity": 0.2}):
        first = struck(count=1000, **options)  # type: ignore[arg-type]
        assert 150 < len(first) < 250
        assert first == struck(count=1000, **options)  # type: ignore[arg-type]
        assert first != struck(count=1000, seed=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("toxicity", "count"), [(0, 0), (-3, 0), (1, 10), (7, 10)])
def test_toxicity_at_and_beyond_its_bounds(toxicity: float, count: int) -> None:
    assert len(struck(toxicity=toxicity)) == count


@pytest.mark.parametrize("rule", ["@", "raise(OSError: EIO)", "3", "120%", "x", "@3 ->"])
def test_a_rule_that_says_more_than_when_is_refused(rule: str) -> None:
    if rule == "@3 ->":
        assert struck(rule) == list(range(1, 11))
        return
    with pytest.raises(BlackstartError):
        struck(rule)


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("2s..5s", [2, 3, 4]),
        ("..3s", [0, 1, 2]),
        ("7s..", [7, 8, 9, 10, 11]),
        ("1s..2s/4s", [1, 5, 9]),
    ],
)
def test_a_window_is_open_in_its_time(text: str, opened: list[int]) -> None:
    window = parse_window(text)
    assert window is not None
    assert [second for second in range(12) if window.is_open(second)] == opened
    at, seen = 0.0, [window.is_open(0.0)]
    while at < 12 and (wait := window.next_change_s(at)) is not None:
        at += wait
        seen.append(window.is_open(at))
    assert len(seen) > 1


@pytest.mark.parametrize("text", ["2s", "5s..2s", "a..b", "1s..2s/1s", "1s..2s/", "1s..2s/0s"])
def test_a_wrong_window_is_refused(text: str) -> None:
    with pytest.raises(BlackstartError, match="window"):
        parse_window(text)
