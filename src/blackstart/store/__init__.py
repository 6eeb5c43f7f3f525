"""What was found is kept: runs, trials and findings in `.blackstart/` of the working directory."""

from __future__ import annotations

from blackstart.store.aside import keep_aside
from blackstart.store.merge import Merged, merge_into
from blackstart.store.store import DIRECTORY, KeptTest, Run, Store, StoredFinding, Trial

__all__ = ["DIRECTORY", "KeptTest", "Merged", "Run", "Store", "StoredFinding", "Trial", "keep_aside", "merge_into"]
