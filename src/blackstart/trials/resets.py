"""After a restart that failed twice: the smallest set of paths whose reset makes the target start again.

What the killed run made is removed, what it changed is put back. Single paths are tried first, then all together; a set
of several that helps is made smaller by leaving out one path after the other. Each attempt is one start on a copy of
the crash state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from blackstart.core.history import Reset, Run
from blackstart.core.reading import Image
from blackstart.trials.bench import Bench
from blackstart.trials.plan import Plan

SINGLES_MAX, ATTEMPTS_MAX = 6, 20


class Resets:
    """The search for one trial; is_clean says whether a start ended as a clean one does."""

    def __init__(self, bench: Bench, plan: Plan, is_clean: Callable[[Run], bool]) -> None:
        self._bench = bench
        self._plan = plan
        self._is_clean = is_clean
        self._tried: list[Reset] = []

    def search(self, crash: str) -> tuple[Reset, ...]:
        """All attempts in order; of those that helped, the one with the fewest paths names the culprit."""
        before, after = self._bench.read(self._plan.start), self._bench.read(crash)
        for attempt in attempts(before, after):
            if self._helps(crash, attempt):
                self._shrink(crash, attempt)
                break
        return tuple(self._tried)

    def _shrink(self, crash: str, helped: Reset) -> None:
        """Leave out one path after the other, for as long as the rest still helps."""
        for path in (*helped.put_back, *helped.removed):
            if len(helped.put_back) + len(helped.removed) == 1:
                return
            smaller = Reset(
                removed=tuple(p for p in helped.removed if p != path),
                put_back=tuple(p for p in helped.put_back if p != path),
            )
            if self._helps(crash, smaller):
                helped = smaller

    def _helps(self, crash: str, attempt: Reset) -> bool:
        """Try it, once each; False also when there were enough attempts."""
        if msgspec.structs.replace(attempt, helped=True) in self._tried:
            return True
        if attempt in self._tried or len(self._tried) >= ATTEMPTS_MAX:
            return False
        bench, plan = self._bench, self._plan
        with bench.image_from(crash) as image:
            for path in attempt.removed:
                bench.zygote.remove(image, path)
            for path in attempt.put_back:
                bench.zygote.put(image, path, plan.start)
            with bench.zygote.sandbox(image) as sandbox:
                # Beyond all that the broken runs had: none of theirs, left in a file, may be alive by accident.
                sandbox.advance_pids(4 * bench.pid_step)
                run, _ = bench.start(sandbox, image, "reset", patience=plan.patience)
        helped = self._is_clean(run)
        self._tried.append(msgspec.structs.replace(attempt, helped=helped))
        return helped


def attempts(before: Image, after: Image) -> Iterator[Reset]:
    """What is worth trying, the smallest first; paths are real ones."""
    made = sorted(path for path in after if path not in before)
    files = [path for path in made if after[path].kind != "directory"]
    # A directory is removed with all below it, so the outermost ones stand for the rest.
    outermost = [path for path in made if path.rpartition("/")[0] not in made]
    directories = [path for path in outermost if after[path].kind == "directory"]
    changed = sorted(path for path in before if _differs(before, after, path))
    for path in (*files[:SINGLES_MAX], *directories[:SINGLES_MAX]):
        yield Reset(removed=(path,))
    if len(outermost) > 1:
        yield Reset(removed=tuple(outermost))
    for path in changed[:SINGLES_MAX]:
        yield Reset(put_back=(path,))
    if changed and len(outermost) + len(changed) > 1:
        yield Reset(removed=tuple(outermost), put_back=tuple(changed))


def _differs(before: Image, after: Image, path: str) -> bool:
    if before[path].kind == "directory":
        return path not in after
    return path not in after or after[path].kind != before[path].kind or after[path].digest != before[path].digest
