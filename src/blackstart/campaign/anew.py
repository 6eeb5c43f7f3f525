"""The trial of a finding on a target that is observed anew: what replay, export and the writing of a disk begin with.

The yardstick is measured here and now, behind the doors that the run had open, so that it works in another clone and
after edits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from blackstart.campaign.campaign import Campaign
from blackstart.campaign.observe import Observation
from blackstart.core.errors import BlackstartError
from blackstart.guard import opened_paths, parse_allowed
from blackstart.sandbox import choose, probe
from blackstart.trials import Plan


@contextmanager
def observed(campaign: Campaign, host: Mapping[str, str]) -> Iterator[Observation]:
    """The campaign's target, observed; its images are gone at the end."""
    options = campaign.options
    allowed = [parse_allowed(text) for text in options.allow]
    seen = campaign.observe(options.isolation or choose(probe()), opened_paths(allowed), host)
    try:
        yield seen
    finally:
        seen.zygote.close()


def plan_of(finding: Mapping[str, Any]) -> Plan:
    """The trial that a finding holds; BlackstartError where another version wrote it."""
    try:
        return msgspec.convert(finding.get("plan"), Plan)
    except msgspec.ValidationError as error:
        raise BlackstartError(
            f"this finding's plan cannot be read: {error}",
            where=str(finding.get("id", "")),
            next_step="make the report again with this version of blackstart",
        ) from None


def must_begin(plan: Plan, seen: Observation) -> None:
    """BlackstartError where the state that the trial starts from cannot be had any more."""
    if plan.start not in seen.zygote.names():
        raise BlackstartError(
            f"the program no longer gets as far as the start state {plan.start}",
            next_step="run blackstart anew: the program now behaves differently without any fault",
        )
