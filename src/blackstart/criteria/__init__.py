"""What n trials support, and what they do not. Pure functions of counts and durations."""

from blackstart.criteria.claims import claim_share, claim_survival, supports, trials_needed
from blackstart.criteria.proportion import lower_bound, upper_bound, wilson
from blackstart.criteria.survival import Step, kaplan_meier, median_s

__all__ = [
    "Step",
    "claim_share",
    "claim_survival",
    "kaplan_meier",
    "lower_bound",
    "median_s",
    "supports",
    "trials_needed",
    "upper_bound",
    "wilson",
]
