"""Kind `power`, a second cut: the power goes once, and again while the program recovers from that.

What a recovery writes is known only when it runs, so it is really made, on the disk of the first cut, and recorded; the
second cut is one of the crash states of that recording, named by its place in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import ClassVar

import msgspec

from blackstart.core.calibration import CleanRun
from blackstart.core.history import Injected
from blackstart.faults.power import describe, fault_of, states
from blackstart.faults.scene import RESTART, Candidate, Scene
from blackstart.power import Explorer, Recording, State, model
from blackstart.power.models import REAL
from blackstart.targets import Conducted

# So many first cuts are tried, each with so many second ones; they are looked for among so many crash states.
FIRST_MAX, SECOND_MAX, LOOKED_AT_MAX = 4, 6, 300


class SecondCut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="second-cut", tag_field="fault"):
    """The power goes during recovery, which leaves the crash state with this place in the order in which these models
    give them in turn.
    """

    kind: ClassVar[str] = "power"
    place: int
    models: tuple[str, ...] = REAL
    phase: str = RESTART

    @property
    def lasting(self) -> bool:
        """The disk stays as it was left."""
        return False

    def __str__(self) -> str:
        return f"a second power cut during recovery, under {', '.join(self.models)}, number {self.place + 1}"

    def inject(self, scene: Scene) -> AbstractContextManager[None]:
        """Nothing is armed: the recovery runs undisturbed and is cut in its recording."""
        return nullcontext()

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        raise AssertionError("a power cut replaces the run: see `told`")

    def state(self, recording: Recording) -> State | None:
        """The crash state in the recording of the recovery; None if it has fewer."""
        return next(islice(states(recording, self.models), self.place, None), None)

    def told(self, recording: Recording, state: State | None) -> Injected:
        """The account of the cut."""
        if state is None:
            return Injected(fault=str(self), kind=self.kind, note="the recovery has fewer crash states")
        return Injected(fault=str(self), kind=self.kind, hits=1, fired=1, cut=describe(recording, state))


def candidates(clean: CleanRun, models: tuple[str, ...]) -> Iterator[Candidate]:
    """First cuts that leave half-done work, each followed by the first second ones."""
    recording: Recording | None = clean.recording
    chosen = tuple(name for name in models or REAL if model(name).syncs == "kept")
    if recording is None or not recording.micros or not chosen:
        return
    for number, state in enumerate(islice(_half_done(recording, chosen[0]), FIRST_MAX)):
        crash = fault_of(recording, state)
        for place in range(SECOND_MAX):
            yield Candidate(
                fault=SecondCut(place=place, models=chosen),
                crash=crash,
                start=clean.start,
                rank=(4 + place // 4, 4, number),
                cause=("power during recovery", str(number)),
                path=crash.last.path,
            )


def _half_done(recording: Recording, name: str) -> Iterator[State]:
    """Crash states that lost nothing but stand in mid-work: with other names than before and after, each set once."""
    explorer = Explorer(recording, model(name))
    whole = explorer.order.effects
    seen = {frozenset(recording.names.layout(mask)) for mask in (0, whole)}
    for state in islice(explorer.states(), LOOKED_AT_MAX):
        names = frozenset(recording.names.layout(state.mask))
        if state.cut and names not in seen and state.mask == whole & ((1 << state.cut) - 1):
            seen.add(names)
            yield state
