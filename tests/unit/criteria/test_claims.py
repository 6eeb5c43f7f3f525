"""A claim is made only when the trials support it."""

from __future__ import annotations

import pytest

from blackstart.criteria import claim_share, claim_survival, supports, trials_needed


@pytest.mark.parametrize(("share", "needed"), [(0.95, 59), (0.9, 29), (0.99, 299), (0.5, 5), (0.999, 2995)])
def test_the_number_of_trials_that_a_claim_needs(share: float, needed: int) -> None:
    assert trials_needed(share) == needed
    assert supports(needed, needed, share) and not supports(needed - 1, needed - 1, share)


def test_95_percent_is_said_from_59_trials_on() -> None:
    assert claim_survival(59, 59) == "survived 59 of 59 (at least 95 %, with 95 % certainty)"
    assert claim_survival(58, 58) == "survived 58 of 58 (at least 90 %, with 95 % certainty)"
    assert claim_survival(58, 59) == "survived 58 of 59 (at least 90 %, with 95 % certainty)"


def test_few_trials_claim_nothing() -> None:
    assert claim_survival(4, 4) == "survived 4 of 4 (too few for a claim)"
    assert claim_survival(0, 0) == "nothing was tried"
    assert not supports(0, 0, 0.5)


def test_a_share_is_rounded_downwards() -> None:
    assert claim_share(9, 10) == "in 9 of 10 trials (at least 60 % of the time, with 95 % certainty)"
    assert claim_share(10, 10) == "in 10 of 10 trials (at least 74 % of the time, with 95 % certainty)"
    assert claim_share(0, 10) == "in 0 of 10 trials (at least 0 % of the time, with 95 % certainty)"
    assert claim_share(0, 0) == "in none of 0 trials that were decided"
