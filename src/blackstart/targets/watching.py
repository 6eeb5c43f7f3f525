"""What a service does by itself once nobody uses it any more: how long that is watched, and what is noted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from blackstart.core.trace import Operation

# After how long nothing at all is taken for idle; how often its waits are looked at.
QUIET_S, LOOK_EVERY_S = 2.5, 0.25
MOMENTS_MAX = 100


class Watching:
    """One watch over a trace that grows meanwhile.

    It ends after limit_s seconds, or once something of each of `effects` was done, or, where none are known, when
    nothing is done at all.
    """

    def __init__(
        self, trace: Sequence[Operation], effects: Sequence[frozenset[str]], begin_s: float, limit_s: float
    ) -> None:
        self._trace, self._effects = trace, effects
        self._begin_s, self._limit_s = begin_s, limit_s
        self._first = self._known = len(trace)
        self._names: set[str] = set()
        self._next_look_s, self._longest_s = begin_s, 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether enough was seen."""
        self._names.update(operation.name for operation in self._trace[self._known :])
        self._known = len(self._trace)
        if self._effects and all(self._names & effect for effect in self._effects):
            return True
        is_idle = not self._effects and not self._names and now_s > self._begin_s + QUIET_S
        return is_idle or now_s >= self._begin_s + self._limit_s

    def wants_look(self, now_s: float) -> bool:
        """Whether it is time to look at its waits again."""
        if now_s < self._next_look_s:
            return False
        self._next_look_s = now_s + LOOK_EVERY_S
        return True

    def looked(self, longest_s: float) -> None:
        """Note the longest wait that began after the fault."""
        self._longest_s = max(self._longest_s, longest_s)

    @property
    def back_off_s(self) -> float:
        """That wait where it outlasts the watch, else 0: what wakes earlier was seen to do something, or nothing."""
        return self._longest_s if self._longest_s > self._limit_s else 0.0

    def moments(self) -> dict[str, tuple[float, ...]]:
        """What was done, and when."""
        found: dict[str, tuple[float, ...]] = {}
        for operation in self._trace[self._first :]:
            found[operation.name] = (*found.get(operation.name, ()), operation.at_s)[:MOMENTS_MAX]
        return found
