"""One trial from sandbox to history: the order of events, and no scenario."""

from blackstart.trials.bench import Bench
from blackstart.trials.job import run_trial
from blackstart.trials.plan import Plan

__all__ = ["Bench", "Plan", "run_trial"]
