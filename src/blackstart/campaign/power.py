"""What the kind `power` needs from observing: the recording of a clean run with its data, and the legal answers.

Its own clean run, since keeping every byte costs more than the others should pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from blackstart.campaign.observe import Observation
from blackstart.campaign.serving import patience_of
from blackstart.campaign.worker import try_and_judge
from blackstart.core.calibration import CleanRun
from blackstart.core.history import EXITED, STOPPED
from blackstart.core.verdict import FAILED
from blackstart.faults.power import PowerCut, fault_of
from blackstart.findings import Failure, cause_of
from blackstart.power import OUTPUT, Builder, Explorer, Recording, State, model
from blackstart.power.states import cuts, smaller
from blackstart.trials.taping import tape_start

if TYPE_CHECKING:
    from blackstart.campaign.campaign import Campaign

ANSWERS_MAX, MORE_PATIENCE = 16, 4.0
# What is left of the budget, and a little where nothing is.
SHRINK_MIN_S, SHRINK_MAX_S = 5.0, 20.0


def with_recordings(seen: Observation, starts: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Record a clean run from each of these start states and keep it with the yardstick."""
    chain = []
    for clean in seen.calibration.chain:
        recording = record(seen, clean.start) if clean.start in starts else None
        if recording is not None:
            recording.models = models
            steps = _answers(seen, clean, recording)
            clean = msgspec.structs.replace(clean, recording=recording, check_steps=steps)
            for path, why in recording.uncovered.items():
                seen.surface.uncovered.setdefault(seen.bench.masker(path), why)
        chain.append(clean)
    seen.calibration = msgspec.structs.replace(seen.calibration, chain=tuple(chain))
    seen.bench.calibration = seen.calibration


def record(seen: Observation, start: str) -> Recording | None:
    """One clean run from this start with all that it writes; None if it then ends otherwise than the others."""
    bench, roots = seen.bench, seen.layout.copies
    patience = patience_of(seen.calibration)
    # Keeping every byte takes longer, and the machine may be busy just then.
    more = {name: MORE_PATIENCE * getattr(patience, name) for name in ("deadline_s", "hard_s", "work_s")}
    for patient in (patience, msgspec.structs.replace(patience, **more)):
        with bench.image_from(start) as image, seen.zygote.sandbox(image) as sandbox:
            run, _, recording = tape_start(bench, sandbox, image, start, roots, phase="recording", patience=patient)
        if run.end.how in (EXITED, STOPPED):
            return recording
    return None


def _answers(seen: Observation, clean: CleanRun, recording: Recording) -> tuple[tuple[int, str], ...]:
    """What `--check` says while the run is under way and nothing is lost: the legal answers, in order."""
    bench = seen.bench
    if bench.check is None or bench.service is not None:
        return ()
    asked = [0, *_quiet_moments(recording)]
    order = Explorer(recording, model("kill9")).order
    found: list[tuple[int, str]] = []
    for cut in asked:
        state = State(cut, order.effects & ((1 << cut) - 1))
        with bench.image_from(clean.start) as image:
            places = {root: place for root in recording.tree.roots if (place := seen.zygote.path(image, root))}
            builder = Builder(recording, places, contents=recording.contents, names=recording.names)
            try:
                builder.build(state)
            finally:
                builder.close()
            answer = bench.ask_check(image, "step").value
        lines = sum(e.data.count(b"\n") for e in recording.outputs_before(cut) if e.stream == "stdout")
        if not found or found[-1] != (lines, answer):
            found.append((lines, answer))
    return tuple(found)


def _quiet_moments(recording: Recording) -> list[int]:
    """Where an answer is legal: around outputs, after syncs, before a rename or removal, at the end; spread."""
    hot, calls, _ = cuts(recording)
    micros = recording.micros
    quiet = set(hot)
    for cut in calls:
        call = recording.operations[micros[cut - 1].operation].call
        following = recording.operations[micros[cut].operation].call
        if call.startswith(("rename", "unlink")) or following.startswith(("rename", "unlink")):
            quiet.add(cut)
    outputs = {c for c in quiet if micros[c - 1].kind in (OUTPUT,) or (c < len(micros) and micros[c].kind == OUTPUT)}
    rest = sorted(quiet - outputs - {len(micros)})
    step = max(1, -(-len(rest) // ANSWERS_MAX))
    chosen_outputs = sorted(outputs)
    keep = max(1, -(-len(chosen_outputs) // (2 * ANSWERS_MAX)))
    return sorted({*rest[::step], *chosen_outputs[::keep], len(micros)})


def shrink(campaign: Campaign, seen: Observation) -> None:
    """Make the first failure of each cause found by power cuts the smallest one: put back whatever does not matter."""
    clock = campaign.clock
    limit_s = max(SHRINK_MIN_S, min(SHRINK_MAX_S, campaign.budget.left_s()))
    for cause, suspicion in list(campaign.tally.suspicions.items()):
        fault = suspicion.plan.faults[0] if len(suspicion.plan.faults) == 1 else None
        if not isinstance(fault, PowerCut) or not suspicion.reproduction.shown:
            continue
        until_s = clock.monotonic() + limit_s / max(1, len(campaign.tally.suspicions))
        clean = next(c for c in seen.calibration.chain if c.start == suspicion.plan.start)
        recording = clean.recording
        state = fault.state(recording)
        is_smaller = True
        while is_smaller and clock.monotonic() < until_s:
            is_smaller = False
            for candidate in smaller(recording.order(model(fault.model)), state):
                if clock.monotonic() >= until_s:
                    break
                plan = msgspec.structs.replace(suspicion.plan, faults=(fault_of(recording, candidate),))
                outcome = try_and_judge(plan, seen.bench)
                trial = suspicion.failures[0].trial
                failures = [
                    Failure(trial=trial, history=outcome.history, verdict=v)
                    for v in outcome.verdicts
                    if v.outcome == FAILED
                ]
                again = next((f for f in failures if cause_of(f) == cause), None)
                if again is not None:
                    suspicion.plan, state, is_smaller = plan, candidate, True
                    suspicion.failures.insert(0, again)
                    break
