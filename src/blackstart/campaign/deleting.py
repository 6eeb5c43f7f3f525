"""Clean re-runs without a file or a whole folder: what it is to the program, where its trace leaves that open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import msgspec

from blackstart.core.calibration import CleanRun
from blackstart.core.history import EXITED
from blackstart.core.reading import Image
from blackstart.surface import Deletion, deletion_candidates, doubtful_folders, judge_deletion, uses, within
from blackstart.targets import Patience
from blackstart.trials import Bench

FILES_MAX, FOLDERS_MAX = 12, 4


class Roles(Protocol):
    """Masked path -> role, as far as the traces and these deletions tell."""

    def __call__(self, *, deletions: dict[str, Deletion]) -> dict[str, str]: ...


@dataclass
class Deleting:
    """Deletion trials from S1. clean: the clean re-run from there; runs, notes: what was done, and what there was no
    time for.
    """

    bench: Bench
    clean: CleanRun
    patience: Patience
    is_spent: Callable[[], bool]
    runs: int = 0
    notes: list[str] = field(default_factory=list)

    def roles(self, told: Roles, last: Image) -> dict[str, str]:
        """The role of each file; last: what the last clean run left."""
        deletions: dict[str, Deletion] = {}
        found = told(deletions={})
        for path in deletion_candidates(found, self.bench.masker.image(last), FILES_MAX):
            if self.is_spent():
                self.notes.append(f"no time to try what {path} is to the program: it is taken for state")
                break
            deletions[path] = self._deletion(path)
        if not deletions:
            return found
        found = told(deletions=deletions)
        kept = self._without_products(found)
        is_told_more = False
        for folder in islice(doubtful_folders(kept, deletions), FOLDERS_MAX):
            if self.is_spent():
                break
            one = self._deletion(folder)
            if one.rebuilt_equal and not one.answers_changed:
                deletions |= {path: msgspec.structs.replace(one, path=path) for path in within(folder, kept)}
                is_told_more = True
        return told(deletions=deletions) if is_told_more else found

    def _without_products(self, found: dict[str, str]) -> dict[str, str]:
        """All but the outputs that each run writes: such a one is what the run is for, wherever it puts it."""
        used = uses([self.clean.trace], None)
        written = {path for path, use in used.items() if use.written or use.moved_onto}
        return {path: role for path, role in found.items() if role != "output" or path not in written}

    def _deletion(self, path: str) -> Deletion:
        bench = self.bench
        with bench.image_from("S1") as image:
            bench.zygote.remove(image, bench.real(path, image))
            with bench.zygote.sandbox(image) as sandbox:
                run, _ = bench.start(sandbox, image, "deletion", patience=self.patience)
        self.runs += 1
        return judge_deletion(
            path,
            self.clean,
            code=run.end.code if run.end.how == EXITED else -run.end.signal,
            stdout=bench.masker.text("stdout", run.text("stdout")),
            check=run.readings[0].value if run.readings else "",
            files=bench.masker.image(run.image),
        )
