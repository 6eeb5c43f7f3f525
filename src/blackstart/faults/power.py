"""Kind `power`: the power goes, and what a file system had not yet written is gone too.

The run itself is not repeated: from its recording the disk is built as a power cut would have left it under a named
model, and the target starts on that. A state that a mere kill could leave is kind `kill`'s and not tried again here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.errors import BlackstartError
from blackstart.core.frames import shown_place
from blackstart.core.history import Cut, Injected, Output
from blackstart.core.trace import Operation
from blackstart.faults.point import slim
from blackstart.faults.scene import RUN, Candidate, Scene
from blackstart.power import (
    CUT,
    DATA,
    GROW,
    LINK,
    OUTPUT,
    SYNC,
    UNLINK,
    WORKLOAD,
    Builder,
    Event,
    Explorer,
    Micro,
    Recording,
    State,
    model,
)
from blackstart.power.models import FAILING, MODELS, REAL
from blackstart.power.promised import failing, is_torn, of, still_missing, unsynced_paths
from blackstart.targets import Conducted
from blackstart.targets.workload import OK, acts

# Real file systems first; posix last, whose findings are notes.
USUAL = (*REAL, "posix")
STATES_MAX = 400
# A file of megabytes that is made anew in small writes gives thousands of steps, and each state costs as many.
LOOKED_AT_MIN, STEPS_MAX = 50, 2_000_000
# What a mere kill leaves is told apart up to here; some of it is tried with the rest where a program does more.
KILLS_STEPS_MAX = 10_000_000
NAMED_MAX = 12
BYTES = (DATA, GROW, CUT)


class PlaceGone(BlackstartError):
    """The recording has no such operation: the program has changed since the cut was planned."""


class Missing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Micro-operations that are not on the disk: of the n-th such call on that masked path the parts with these
    numbers (none: all of them).
    """

    call: str
    path: str
    nth: int
    parts: tuple[int, ...] = ()


class PowerCut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="power", tag_field="fault"):
    """The power goes when `done` micro-operations of the operation `last` are done, and `missing` is not on the disk.

    garbage: anything stands where lost data would be, instead of zeros.
    """

    kind: ClassVar[str] = "power"
    model: str
    last: Missing
    done: int
    missing: tuple[Missing, ...] = ()
    garbage: bool = False
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """The disk stays as it was left."""
        return False

    def __str__(self) -> str:
        lost = ", ".join(f"{m.call} {m.path} @{m.nth}" for m in self.missing[:3])
        more = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""
        after = f"{self.last.call} {self.last.path} @{self.last.nth}"
        what = f"without {lost}{more}" if lost else "all of which was kept"
        return f"power cut under {self.model} after {after}, {what}"

    def state(self, recording: Recording) -> State:
        """The crash state in this recording; PlaceGone where it has no such operation."""
        cut = _steps(recording, self.last)[self.done - 1] + 1
        lost = 0
        for one in self.missing:
            steps = _steps(recording, one)
            for part in one.parts or range(len(steps)):
                lost |= 1 << steps[part]
        order = recording.order(model(self.model))
        mask = order.effects & ((1 << cut) - 1) & ~lost
        garbage = sum(1 << m.index for m in of(recording, lost) if m.kind == DATA and m.is_new) if self.garbage else 0
        return State(cut, mask, self.model, garbage)

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        """Build the disk into the scene's image."""
        assert scene.recording is not None
        build(scene.recording, self.state(scene.recording), scene)
        yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        raise AssertionError("a power cut replaces the run: see `told`")

    def told(self, recording: Recording) -> tuple[Injected, tuple[Output, ...]]:
        """The account of the cut, and what had got out before it."""
        state = self.state(recording)
        events = recording.outputs_before(state.cut)
        outputs = said(events)
        cut = describe(recording, state)
        lines = sum(o.data.count(b"\n") for o in outputs)
        fired = int(bool(cut.steps) or state.cut < len(recording.micros))
        operation = cut.after and slim(cut.after)
        note = "" if fired else "this is what the run itself leaves"
        injected = Injected(
            fault=str(self), kind=self.kind, hits=1, fired=fired, operation=operation, outputs=lines, cut=cut, note=note
        )
        return injected, outputs


def said(events: Iterable[Event]) -> tuple[Output, ...]:
    """What had got out and counts as said: lines on stdout, and those of whoever uses a service."""
    return tuple(Output(stream=e.stream, data=e.data) for e in events if e.stream in ("stdout", WORKLOAD))


def build(recording: Recording, state: State, scene: Scene) -> None:
    """Make the scene's image, which holds the start state, equal to this crash state."""
    places = {}
    for root in recording.tree.roots:
        place = scene.zygote.path(scene.image, root)
        assert place is not None, root
        places[root] = place
    builder = Builder(recording, places, contents=recording.contents, names=recording.names)
    try:
        builder.build(state)
    finally:
        builder.close()


def _steps(recording: Recording, one: Missing) -> list[int]:
    try:
        return recording.steps_of[recording.addresses[one.call, one.path, one.nth]]
    except KeyError:
        raise PlaceGone(
            f"the program no longer comes to {one.call} {one.path} @{one.nth}",
            next_step="run blackstart anew: the program behaves differently now",
        ) from None


def fault_of(recording: Recording, state: State) -> PowerCut:
    """The fault value of a state, under a file system in common use if it can be there."""
    state = _in_common_use(recording, state)
    last = recording.micros[state.cut - 1]
    operation = recording.operations[last.operation]
    order = recording.order(model(state.model))
    lost: dict[int, list[int]] = {}
    for step in of(recording, order.effects & ((1 << state.cut) - 1) & ~state.mask):
        lost.setdefault(step.operation, []).append(step.part)
    missing = []
    for index, parts in lost.items():
        whole = [m.part for m in _of_operation(recording, index) if m.kind in (DATA, GROW, CUT, LINK, UNLINK)]
        every = len(whole) == len(recording.steps_of[index]) and parts == whole
        missing.append(_address(recording.operations[index], () if every else tuple(parts)))
    return PowerCut(
        model=state.model,
        last=_address(operation),
        done=recording.steps_of[last.operation].index(last.index) + 1,
        missing=tuple(missing),
        garbage=bool(state.garbage),
    )


def _in_common_use(recording: Recording, state: State) -> State:
    if state.model.partition("+")[0] in REAL or recording.is_failing or model(state.model).keeps_all:
        return state
    possible = (name for name in _models(recording, state)[0] if name in REAL)
    return replace(state, model=next(possible, state.model))


def _of_operation(recording: Recording, index: int) -> list[Micro]:
    return [recording.micros[i] for i in recording.steps_of[index]]


def _address(operation: Operation, parts: tuple[int, ...] = ()) -> Missing:
    return Missing(call=operation.call, path=operation.masked, nth=operation.nth, parts=parts)


def describe(recording: Recording, state: State) -> Cut:
    """The cut in words, and the models that allow it."""
    order = recording.order(model(state.model))
    lost = list(of(recording, order.effects & ((1 << state.cut) - 1) & ~state.mask))
    possible, never = _models(recording, state)
    by_operation: dict[int, list[Micro]] = {}
    for step in lost:
        by_operation.setdefault(step.operation, []).append(step)
    dropped = still_missing(recording, state)
    words = _dropped(recording, dropped)
    named = NAMED_MAX - len(words)
    words += [_in_words(recording, index, steps) for index, steps in islice(by_operation.items(), named)]
    if len(by_operation) > named:
        words.append(f"and {len(by_operation) - named} more")
    kinds = dict.fromkeys("entry" if s.kind in (LINK, UNLINK) else s.kind for s in lost)
    if dropped:
        kinds = {"dropped": None, **kinds}
    unsynced = unsynced_paths(recording, state, _acknowledged(recording))
    torn = is_torn(recording, state)
    if torn:
        kinds["torn"] = None
    if state.garbage:
        kinds["garbage"] = None
    after = recording.operations[recording.micros[state.cut - 1].operation] if state.cut else None
    following = recording.micros[state.cut] if state.cut < len(recording.micros) else None
    return Cut(
        model=state.model,
        models=possible,
        never=never,
        is_real=any(name.partition("+")[0] in (*REAL, *FAILING) for name in possible),
        after=after and slim(after),
        before=slim(recording.operations[following.operation]) if following else None,
        missing=tuple(words),
        lost_kinds=tuple(kinds),
        only_last_name=unsynced == (),
        unsynced=unsynced or (),
        steps=len(lost),
        paths=tuple(dict.fromkeys(recording.operations[index].masked for index in by_operation)),
        moved=_is_moved(recording, state, lost),
        appended=_is_appended(recording, lost),
        again=_is_synced_again(recording, state),
        unordered=not torn and not dropped and _is_unordered(recording, state, lost),
    )


def _is_appended(recording: Recording, lost: list[Micro]) -> bool:
    """Whether only bytes are missing that were appended: not by who opens for appending, and then empties the file."""
    emptied = {step.inode for step in recording.micros if step.kind == CUT}
    by_appending = (
        step.kind in BYTES
        and step.inode not in emptied
        and recording.operations[step.operation].status & os.O_APPEND
        for step in lost
    )
    return bool(lost) and all(by_appending)


def _is_unordered(recording: Recording, state: State, lost: list[Micro]) -> bool:
    """Whether all that is missing for its own sake are names, and something later is on the disk."""
    order = recording.order(model(state.model))
    missing = sum(1 << step.index for step in lost)
    first = []
    for step in lost:
        together = sum(1 << index for index in recording.steps_of[step.operation])
        if not order.needs[step.index] & missing & ~together:
            first.append(step)
    return bool(first) and all(s.kind in (LINK, UNLINK) for s in first) and state.mask >> first[0].index != 0


def _is_synced_again(recording: Recording, state: State) -> bool:
    """Whether the file whose sync reported an error was synced once more before the cut."""
    syncs = [m for m in recording.micros[: state.cut] if m.kind == SYNC]
    at = next((k for k, one in enumerate(syncs) if one.fails), len(syncs))
    return any(one.inode == syncs[at].inode for one in syncs[at + 1 :])


def _is_moved(recording: Recording, state: State, lost: list[Micro]) -> bool:
    """Whether bytes are missing of a file that has another name on this disk than the one they were written under."""
    names: dict[int, set[str]] = {}
    for path, inode in recording.names.layout(state.mask).items():
        names.setdefault(inode, set()).add(path)
    return any(
        step.kind in BYTES
        and step.inode in names
        and recording.operations[step.operation].path not in names[step.inode]
        for step in lost
    )


def _models(recording: Recording, state: State) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(models under which this state can be, those under which it cannot)"""
    keeping = [name for name in MODELS if name not in FAILING]
    if recording.is_failing:  # what was dropped is no longer in the recording; where no sync fails nothing is dropped
        return (state.model,), tuple(keeping)
    possible = [name for name in keeping if recording.order(MODELS[name]).is_possible(state.cut, state.mask)]
    if state.garbage:
        possible = [name for name in possible if MODELS[name].garbage]
    if state.model not in possible:
        possible.append(state.model)
    return tuple(possible), tuple(name for name in keeping if name not in possible)


def _dropped(recording: Recording, dropped: list[Micro]) -> list[str]:
    """These pieces in words."""
    if not dropped:
        return []
    sync = failing(recording)
    first, last = dropped[0], dropped[-1]
    operation = recording.operations[sync.operation]
    where = shown_place(operation.site)
    span = f"bytes {first.offset} to {last.offset + last.length}"
    return [f"{span}, dropped when {operation.call} {operation.masked} @{operation.nth}{where} reported EIO"]


def _acknowledged(recording: Recording) -> list[int]:
    """Where something was promised: at lines that got out; of those of whoever uses a service at `ok` only."""
    said_at = (step.index for step in recording.micros if step.kind == OUTPUT)
    return [
        index
        for index, event in zip(said_at, recording.events, strict=True)
        if event.stream != WORKLOAD or any(act.how == OK for act in acts([Output(stream="stdout", data=event.data)]))
    ]


def _in_words(recording: Recording, index: int, steps: list[Micro]) -> str:
    operation = recording.operations[index]
    where = shown_place(operation.site)
    target = f" to {operation.path2}" if operation.path2 and operation.call.startswith(("rename", "link")) else ""
    what = f"{operation.call} {operation.masked}{target} @{operation.nth}{where}"
    total = [m for m in _of_operation(recording, index) if m.kind in (DATA, GROW, CUT, LINK, UNLINK)]
    if len(steps) == len(total):
        return what
    data = [s for s in steps if s.kind == DATA]
    if data:
        first, last = data[0], data[-1]
        part = f"bytes {first.offset} to {last.offset + last.length}" if len(data) > 1 else f"byte {first.offset} on"
    else:
        part = "the new size" if any(s.kind in (GROW, CUT) for s in steps) else "a part"
    return f"{part} of {what}"


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """The first crash states of the recording under each model in turn, most telling first."""
    recording = clean.recording
    if recording is None or not recording.micros:
        return
    limit = max(LOOKED_AT_MIN, STEPS_MAX // len(recording.micros))
    for position, state in enumerate(islice(states(recording, recording.models, limit=limit), STATES_MAX)):
        fault = fault_of(recording, state)
        yield Candidate(
            fault=fault,
            start=clean.start,
            rank=(1 + position // 16, 2, position),
            cause=("power", fault.model, fault.missing[0].path if fault.missing else fault.last.path),
            path=fault.missing[0].path if fault.missing else fault.last.path,
        )


def states(
    recording: Recording, models: tuple[str, ...] = (), seed: int = 0, *, limit: int | None = None
) -> Iterator[State]:
    """Distinct crash states under these models, taken in turn; without those that a mere kill leaves, unless `kill9` is
    the only model. limit: of how many candidates under each.
    """
    seen: set[int] = set()
    if models != ("kill9",):
        known = limit or KILLS_STEPS_MAX // max(1, len(recording.micros))
        for _ in Explorer(recording, MODELS["kill9"], seen=seen, limit=known).states():
            pass
    names = [name for name in models or USUAL if model(name).syncs != "failing"]
    explorers: list[Any] = [
        Explorer(recording, model(name), seed=seed, seen=seen, limit=limit).states() for name in names
    ]
    while explorers:
        for explorer in list(explorers):
            state = next(explorer, None)
            if state is None:
                explorers.remove(explorer)
            elif state.cut:
                yield state
