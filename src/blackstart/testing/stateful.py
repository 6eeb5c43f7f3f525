"""Faults for Hypothesis: rules as values that it draws, and a state machine in which faults come and go as steps.

    class Saving(Faults, RuleBasedStateMachine):
        failpoints = ("save-write", "save-rename")

        @rule(text=st.text())
        def save(self, text):
            if self.survives(self.notes.save, text):
                self.saved = text

A run that fails is shrunk as any other: the fewest steps, the first failpoint, the first hit, a transient fault rather
than a lasting one. Needs Hypothesis, which is no dependency of blackstart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from blackstart.core.errors import BlackstartError
from blackstart.inprocess import Point, armed, armed_call

FAILURES = ("raise(OSError: EIO)", "raise(OSError: ENOSPC)")


def rules(
    what: Sequence[str] = FAILURES, *, hits_max: int = 5, terms_max: int = 1, percents: bool = False
) -> st.SearchStrategy[str]:
    """Texts of rules; the smallest is the first of `what` on the first hit, once.

    what: verbs with their arguments; hits_max: the latest hit on which a term begins to fire; terms_max: how many terms
    are chained; percents: whether chances are drawn too, which the seed of whoever arms the rule decides.
    """
    if not what or hits_max < 1 or terms_max < 1:
        raise BlackstartError("a rule needs a verb, a hit and a term", next_step="give what=, hits_max= and terms_max=")
    hits = st.integers(1, hits_max)
    # Hypothesis shrinks towards the first of these.
    whens = [hits.map("@{} ".format), hits.map("@{}+ ".format), hits.map("{}*".format)]
    if percents:
        whens.append(st.sampled_from((10, 50, 90)).map("{}% ".format))
    term = st.tuples(st.one_of(whens), st.sampled_from(list(what))).map("".join)
    return st.lists(term, min_size=1, max_size=terms_max).map(" -> ".join)


class Faults:
    """Mixed into a RuleBasedStateMachine, before it: `inject` and `heal` are two of its steps.

    failpoints and calls: the places that can fail; faults: the rules drawn for them; faults_max: how many are in at
    once. All are healed at the end of each run.
    """

    failpoints: Sequence[str] = ()
    calls: Sequence[str] = ()
    faults: st.SearchStrategy[str] = rules()
    faults_max: int = 1

    def __init__(self) -> None:
        self._armed: dict[str, ExitStack] = {}
        self._points: dict[str, Point] = {}
        super().__init__()
        if not self.failpoints and not self.calls:
            raise BlackstartError(
                f"{type(self).__name__} names no failpoints and no calls that could fail",
                next_step="set `failpoints` or `calls` in the class",
            )

    @precondition(lambda self: len(self._armed) < self.faults_max and self._free())
    @rule(
        place=st.runner().flatmap(lambda self: st.sampled_from(self._free())),
        fault=st.runner().flatmap(lambda self: self.faults),
    )
    def inject(self, place: str, fault: str) -> None:
        """From now on this place follows this rule."""
        arm: Callable[..., Any] = armed if place in self.failpoints else armed_call
        stack = self._armed[place] = ExitStack()
        point = self._points[place] = stack.enter_context(arm(place, fault, may_miss=True))
        # The story that is left names its faults; the log would name those of every run that led to it.
        point.is_logged = False

    @precondition(lambda self: self._armed)
    @rule(place=st.runner().flatmap(lambda self: st.sampled_from(sorted(self._armed))))
    def heal(self, place: str) -> None:
        """From now on this place is healthy."""
        self._points.pop(place, None)
        self._armed.pop(place).close()

    def survives(self, step: Callable[..., object], *arguments: Any, **named: Any) -> bool:
        """Do this step of the program: True if it ends, False if it ends with an exception while a fault fired.

        An exception with no fault is none of the faults' doing and fails the run.
        """
        before = self.fired
        try:
            step(*arguments, **named)
        except Exception:
            if self.fired == before:
                raise
            return False
        return True

    @property
    def fired(self) -> int:
        """How often the faults that are in have fired."""
        return sum(point.fired for point in self._points.values())

    def teardown(self) -> None:
        """Heal all; a machine with a teardown of its own calls this one too."""
        for place in sorted(self._armed):
            self._armed.pop(place).close()
        self._points.clear()
        super().teardown()  # type: ignore[misc]

    def _free(self) -> list[str]:
        return [place for place in (*self.failpoints, *self.calls) if place not in self._armed]
