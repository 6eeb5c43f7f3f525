"""Each use draws from its own source, so that nothing shifts when another use draws more."""

from __future__ import annotations

from blackstart.core.randomness import Seed


def test_the_same_name_gives_the_same_draws() -> None:
    assert Seed(7).source("trial", 3).random() == Seed(7).source("trial", 3).random()


def test_a_draw_more_in_one_source_does_not_shift_another() -> None:
    seed = Seed(7)
    one, other = seed.source("rule"), seed.source("order")
    expected = Seed(7).source("order").random()
    one.random()
    assert other.random() == expected


def test_names_are_kept_apart() -> None:
    draws = {Seed(1).source(*names).random() for names in [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", "")]}
    assert len(draws) == 4
    assert Seed(1).source("a").random() != Seed(2).source("a").random()


def test_draws_stay_the_same_from_version_to_version() -> None:
    assert Seed(1).source("rule").getrandbits(32) == 280698542
    assert Seed(1).child("worker", 2) == Seed(3740939323)


def test_a_fresh_seed_can_be_typed() -> None:
    assert 0 <= Seed.fresh().number < 2**32
