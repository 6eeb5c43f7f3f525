"""What the kind `power` needs from observing: the recording of a clean run with its data, and the legal answers.

Its own clean run, since keeping every byte costs more than the others should pay.
"""

from __future__ import annotations

import msgspec

from blackstart.campaign.budget import CALIBRATION_SHARE, Budget, enough
from blackstart.campaign.observe import Observation
from blackstart.campaign.serving import patience_of
from blackstart.core.calibration import CleanRun
from blackstart.core.history import EXITED, STOPPED
from blackstart.power import OUTPUT, Builder, Explorer, Recording, State, model
from blackstart.power.states import cuts
from blackstart.trials.taping import tape_start

ANSWERS_MAX, MORE_PATIENCE = 16, 4.0


def with_recordings(
    seen: Observation, starts: tuple[str, ...], models: tuple[str, ...], budget: Budget, only: tuple[str, ...]
) -> str:
    """Record a clean run from each of these start states and keep it with the yardstick; or say why not."""
    if not budget.may_record() and only != ("power",):
        more = enough(budget.elapsed_s() / CALIBRATION_SHARE)
        why = f"no run was recorded, so no power is cut: the budget has no room for it; try --budget {more}"
        seen.notes.append(why)
        return why
    chain = []
    seen.bench.calibration = seen.calibration
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
    budget.must_last()
    return ""


def record(seen: Observation, start: str) -> Recording | None:
    """One clean run from this start with all that it writes; None if it then ends otherwise than the others."""
    bench, roots = seen.bench, seen.layout.directories
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
    end = recording.last_cut
    rest = sorted(quiet - outputs - {end})
    step = max(1, -(-len(rest) // ANSWERS_MAX))
    chosen_outputs = sorted(outputs)
    keep = max(1, -(-len(chosen_outputs) // (2 * ANSWERS_MAX)))
    return sorted({*rest[::step], *chosen_outputs[::keep], end})
