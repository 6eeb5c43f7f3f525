"""Kaplan-Meier against the textbook's remission times (Freireich 1963), whose values SciPy's ecdf gives too."""

from __future__ import annotations

import pytest

from blackstart.criteria import kaplan_meier, median_s

TIMES = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
CENSORED = [0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1]


def test_the_curve_is_that_of_the_textbook() -> None:
    curve = kaplan_meier((float(t), not c) for t, c in zip(TIMES, CENSORED, strict=True))
    assert [step.at_s for step in curve] == [6, 7, 10, 13, 16, 22, 23]
    assert [step.at_risk for step in curve] == [21, 17, 15, 12, 11, 7, 6]
    assert [step.ended for step in curve] == [3, 1, 1, 1, 1, 1, 1]
    shares = [0.857142857, 0.806722689, 0.752941176, 0.690196078, 0.627450980, 0.537815126, 0.448179272]
    assert [step.share for step in curve] == pytest.approx(shares)
    errors = [0.0763604, 0.0869353, 0.0963492, 0.1068156, 0.1140539, 0.1282339, 0.1345915]
    assert [step.standard_error for step in curve] == pytest.approx(errors, abs=1e-6)
    assert median_s(curve) == 23


def test_who_never_recovered_keeps_the_median_open() -> None:
    curve = kaplan_meier([(1.0, True), (60.0, False), (60.0, False)])
    assert [(step.at_s, round(step.share, 3)) for step in curve] == [(1.0, 0.667)]
    assert median_s(curve) is None


def test_without_censoring_it_is_the_plain_share() -> None:
    curve = kaplan_meier([(float(t), True) for t in (1, 2, 3, 4)])
    assert [step.share for step in curve] == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert curve[-1].standard_error == 0.0 and median_s(curve) == 2


def test_nothing_watched_gives_nothing() -> None:
    assert kaplan_meier([]) == () and median_s(()) is None
    with pytest.raises(AssertionError):
        kaplan_meier([(-1.0, True)])
