"""Scenarios as data: failure modes that people know by name, and which trials are evidence for each."""

from __future__ import annotations

from blackstart.catalogue.scenario import Scenario, Trial, built_in, is_evidence, load, parse

__all__ = ["Scenario", "Trial", "built_in", "is_evidence", "load", "parse"]
