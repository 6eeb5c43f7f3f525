"""What was found is kept: runs, trials, findings and artefacts in `.blackstart/` of the working directory."""

from __future__ import annotations

from blackstart.store.store import DIRECTORY, Run, Store, StoredFinding, Trial

__all__ = ["DIRECTORY", "Run", "Store", "StoredFinding", "Trial"]
