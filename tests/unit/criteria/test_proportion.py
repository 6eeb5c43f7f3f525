"""Bounds against SciPy's (scipy 1.x: beta.ppf, binomtest(...).proportion_ci("wilson")), and against their meaning."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackstart.criteria import lower_bound, upper_bound, wilson
from blackstart.criteria.proportion import at_least

# successes, trials, certainty, lower, upper (one-sided Clopper-Pearson), Wilson low, high.
SCIPY = [
    (0, 1, 0.95, 0.0, 0.95, 0.0, 0.7934506856227626),
    (1, 1, 0.95, 0.050000000000000044, 1.0, 0.20654931437723745, 1.0),
    (0, 10, 0.95, 0.0, 0.2588655508930522, 0.0, 0.27753279986288926),
    (1, 10, 0.95, 0.005116196891823705, 0.39416330243650466, 0.017876213095072896, 0.4041500267952385),
    (5, 10, 0.95, 0.22244110100812942, 0.7775588989918706, 0.236593090512564, 0.7634069094874361),
    (9, 10, 0.95, 0.6058366975634953, 0.9948838031081763, 0.5958499732047615, 0.9821237869049271),
    (10, 10, 0.95, 0.7411344491069478, 1.0, 0.7224672001371109, 1.0),
    (59, 59, 0.95, 0.9504923901117731, 1.0, 0.9388706294732116, 1.0),
    (58, 59, 0.95, 0.9221020784811818, 0.9991309999284744, 0.910042740358577, 0.9970017660816443),
    (93, 93, 0.95, 0.9683011110088852, 1.0, 0.9603324973882648, 1.0),
    (298, 300, 0.99, 0.9722776570227922, 0.9995041131177029, 0.9666200577952181, 0.9986973384995065),
    (3, 1000, 0.9, 0.0011025606995322085, 0.006668495337068159, 0.0011995624784162675, 0.0074824913019056905),
    (997, 1000, 0.999, 0.9870033028522363, 0.9998092940182914, 0.9839059050216419, 0.9994467787259818),
    (50, 100, 0.5, 0.4950166993845524, 0.5049833006154476, 0.46635196422237973, 0.5336480357776203),
    (2999, 3000, 0.95, 0.9984196981725413, 0.9999829023813701, 0.9981141811156957, 0.9999411560581284),
    (1, 100000, 0.95, 5.129328123254258e-07, 4.743775717386053e-05, 1.765247730378316e-06, 5.664709659040965e-05),
    (49999, 100000, 0.99, 0.4963067805978389, 0.5036732201918683, 0.4959173920371949, 0.5040626092896964),
]
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
certainties = st.floats(0.01, 0.999)


@pytest.mark.parametrize(("successes", "trials", "certainty", "low", "high", "wilson_low", "wilson_high"), SCIPY)
def test_bounds_are_those_of_scipy(
    successes: int, trials: int, certainty: float, low: float, high: float, wilson_low: float, wilson_high: float
) -> None:
    assert lower_bound(successes, trials, certainty) == pytest.approx(low, rel=1e-8, abs=1e-12)
    assert upper_bound(successes, trials, certainty) == pytest.approx(high, rel=1e-8, abs=1e-12)
    assert wilson(successes, trials, certainty) == pytest.approx((wilson_low, wilson_high), rel=1e-9, abs=1e-12)


@given(counts, certainties)
def test_the_tail_at_the_bound_is_what_certainty_leaves(count: tuple[int, int], certainty: float) -> None:
    successes, trials = count
    bound = lower_bound(successes, trials, certainty)
    if successes:
        assert at_least(successes, trials, bound) == pytest.approx(1 - certainty, rel=1e-6)
    else:
        assert bound == 0.0


@given(counts, certainties)
def test_the_two_sides_mirror_each_other_and_hold_the_share(count: tuple[int, int], certainty: float) -> None:
    successes, trials = count
    assert upper_bound(successes, trials, certainty) == 1 - lower_bound(trials - successes, trials, certainty)
    low, high = wilson(successes, trials, certainty)
    assert -1e-12 <= low <= successes / trials + 1e-12 and successes / trials - 1e-12 <= high <= 1 + 1e-12


@given(counts)
def test_more_certainty_claims_less(count: tuple[int, int]) -> None:
    assert lower_bound(*count, 0.99) <= lower_bound(*count, 0.95) <= lower_bound(*count, 0.5)


@given(st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_tail_is_the_sum_of_exact_terms(trials: int, share: float) -> None:
    for successes in range(trials + 2):
        exact = math.fsum(
            math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes, trials + 1)
        )
        assert at_least(successes, trials, share) == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_impossible_counts_are_our_own_mistake() -> None:
    for bad in ((2, 1, 0.95), (-1, 1, 0.95), (0, 1, 0.0), (0, 1, 1.0)):
        with pytest.raises(AssertionError):
            lower_bound(*bad)


def test_no_trial_says_nothing() -> None:
    assert (lower_bound(0, 0), upper_bound(0, 0), wilson(0, 0)) == (0.0, 1.0, (0.0, 1.0))
