"""A finding for somebody without blackstart: its trial is done again, as replay does it, and what it leaves is kept.

The states before, as the fault left it, and after the last start go into one archive, with all that was printed, a
script that starts the program there, and a text that tells what happened.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from blackstart.campaign import ground
from blackstart.campaign.anew import must_begin, observed, plan_of
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.disk import DISK_MAX_BYTES, write_state
from blackstart.campaign.observe import Observation
from blackstart.campaign.replay import fails_again
from blackstart.campaign.serving import patience_of
from blackstart.campaign.worker import Outcome, try_and_judge
from blackstart.core.errors import BlackstartError, Undecided
from blackstart.core.options import Options
from blackstart.core.units import format_size
from blackstart.faults.errno import SHORT, Errno
from blackstart.faults.kill import Kill
from blackstart.faults.scene import RUN
from blackstart.report import json, views
from blackstart.report.archive import Archive
from blackstart.report.handover import (
    AFTER,
    BEFORE,
    BROKEN,
    README,
    REPORT,
    START,
    Handover,
    is_below,
    outputs_of,
    readme,
    start_script,
)
from blackstart.report.pin import pinned_report
from blackstart.report.progress import Progress
from blackstart.sandbox import Zygote
from blackstart.sandbox.copying import Copier, TooMuch
from blackstart.trials import Bench, Plan

# A failure is shown where it came in 3 of 5, so it must come in one of as many.
ATTEMPTS_MAX = 5
STDIN_MAX_BYTES = 64_000_000
_RESTARTS = ("restart-again", "restart")


class Keeper:
    """Copies of the images that the starts of one trial left, by phase, the last one of each."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self._kept: dict[str, str] = {}

    def __call__(self, phase: str, image: str) -> None:
        """Keep what this start left; what is tried afterwards, to find out more, is none of it."""
        if phase == "restart" and phase in self._kept:  # that one was broken, too, and this is the clean one
            self._drop("recovery")
            self._kept["recovery"] = self._kept.pop(phase)
        elif phase not in ("before", "run", "recovery", *_RESTARTS):
            return
        self._drop(phase)
        name = f"kept-{len(self._zygote.names())}-{phase}"
        self._zygote.copy(image, name)
        self._kept[phase] = name

    def _drop(self, phase: str) -> None:
        if phase in self._kept:
            self._zygote.drop(self._kept.pop(phase))

    def clear(self) -> None:
        """Forget all of it."""
        for phase in tuple(self._kept):
            self._drop(phase)

    def states(self, start: str) -> dict[str, str]:
        """Images by what they are called in the archive."""
        kept = self._kept
        broken = next((kept[phase] for phase in ("before", "recovery", "run") if phase in kept), "")
        again = (*_RESTARTS, "run") if "before" in kept else _RESTARTS
        after = next((kept[phase] for phase in again if phase in kept), "")
        return {name: image for name, image in ((BEFORE, start), (BROKEN, broken), (AFTER, after)) if image}


def export(
    finding: Mapping[str, Any],
    options: Options,
    file: str,
    progress: Progress,
    host: Mapping[str, str] = os.environ,
) -> list[str]:
    """Write the archive; what is not in it, in lines. Undecided where the trial does not fail here."""
    plan = plan_of(finding)
    _can_be_written(file)
    only = ("power",) if plan.kind == "power" else options.only
    campaign = Campaign(msgspec.structs.replace(options, only=only), progress)
    with observed(campaign, host) as seen:
        keeper = Keeper(seen.zygote)
        outcome = _failing(finding, plan, seen, keeper, progress)
        with tempfile.TemporaryDirectory(prefix="blackstart-export-") as work:
            return _pack(finding, options, seen, outcome, keeper.states(plan.start), work, file)


def _failing(finding: Mapping[str, Any], plan: Plan, seen: Observation, keeper: Keeper, progress: Progress) -> Outcome:
    """The trial's outcome once it fails again, with what its starts left in the keeper."""
    must_begin(plan, seen)
    progress.phase("replaying")
    bench = seen.bench
    bench.keep = keeper
    plan = msgspec.structs.replace(plan, patience=plan.patience.no_less_than(patience_of(seen.calibration)))
    try:
        for _ in range(ATTEMPTS_MAX):
            keeper.clear()
            outcome = try_and_judge(plan, bench)
            if fails_again(outcome, finding):
                return outcome
    finally:
        bench.keep = None
    why = outcome.history.trouble or next((one.note for one in outcome.history.injected if one.note), "")
    raise Undecided(
        f"the trial does not fail here in {ATTEMPTS_MAX} attempts, so there is nothing to hand over{why and '; '}{why}",
        where=str(finding.get("id", "")),
        next_step="blackstart replay tells what it does now",
    )


def _pack(
    finding: Mapping[str, Any],
    options: Options,
    seen: Observation,
    outcome: Outcome,
    states: dict[str, str],
    work: str,
    file: str,
) -> list[str]:
    archive = Archive(str(finding.get("id", "finding")))
    roots = tuple(dict.fromkeys((*seen.layout.copies, *seen.layout.made)))
    cwd = seen.bench.command.cwd
    # An earlier archive in the program's directory is no part of its state.
    copier = Copier(limit_bytes=DISK_MAX_BYTES, omit=frozenset({os.path.realpath(file)}), from_image=True)
    try:
        for name, image in states.items():
            place = os.path.join(work, name)
            os.mkdir(place)
            write_state(seen.zygote, seen.layout, image, place, copier)
            if not is_below(cwd, roots):
                os.makedirs(place + cwd, exist_ok=True)  # where the script starts the program
            archive.add_tree(place, name, roots)
    except TooMuch as error:
        raise BlackstartError(
            f"the state is too large for an archive: {error}", next_step="hand over the report and the replay line"
        ) from None
    bench = seen.bench
    inject, path = _by_strace(plan_of(finding), bench, states[BEFORE])
    inject = inject if is_below(path, roots) else ""
    over = Handover(
        finding=dict(finding),
        options=options,
        history=outcome.history,
        cwd=cwd,
        home=bench.command.env.get("HOME", "/"),
        env={**ground.PINNED, **options.env},
        roots=roots,
        good=tuple({clean.code: None for clean in seen.calibration.chain}) or (0,),
        states=tuple(states),
        damaged=any(run.phase == "before" for run in outcome.history.runs),
        images={name: bench.read(image) for name, image in states.items()},
        inject=inject,
        path=path,
    )
    _add_texts(archive, over, bench.command.stdin)
    _write(archive, file)
    return [f"left out: {one.name}: {one.why}" for one in archive.left_out]


def _by_strace(plan: Plan, bench: Bench, image: str) -> tuple[str, str]:
    """(how strace does this fault, the path it does it on); empty where it does not fall into the first start, or
    strace cannot.
    """
    fault = plan.faults[0] if len(plan.faults) == 1 else None
    if not isinstance(fault, Errno | Kill) or fault.phase != RUN or "*" in fault.point.call:
        return "", ""
    if isinstance(fault, Kill):
        action, plus = "error=EINTR:signal=KILL", ""  # with the error the call is not made
    elif fault.error == SHORT:
        return "", ""
    else:
        action, plus = f"error={fault.error}", "+" if fault.persistent else ""
    point = fault.point
    return f"{point.call}:{action}:when={point.nth}{plus}", bench.real(point.path, image)


def _add_texts(archive: Archive, over: Handover, stdin: str) -> None:
    for name, data in outputs_of(over):
        archive.add(name, data)
    if stdin:
        _add_stdin(archive, stdin)
    try:
        archive.add(REPORT, json.render(pinned_report(over.finding, over.options)))
    except msgspec.ValidationError as error:
        raise BlackstartError(
            f"this finding cannot be read: {error}",
            where=str(over.finding.get("id", "")),
            next_step="make the report again",
        ) from None
    archive.add(START, start_script(over).encode("utf-8", "surrogateescape"), mode=0o755)
    told = msgspec.structs.replace(over, left_out=tuple(archive.left_out))
    archive.add(README, readme(told).encode("utf-8", "backslashreplace"))


def _can_be_written(file: str) -> None:
    """Said before the trial is done, and not after it."""
    folder = os.path.dirname(os.path.abspath(file))
    if os.path.isdir(file) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise BlackstartError(
            "the archive cannot be written there", where=file, next_step="name a file in a directory of yours"
        )


def _write(archive: Archive, file: str) -> None:
    """Whole or not at all."""
    try:
        with views.replaced(file) as made:
            archive.write(made)
    except OSError as error:
        raise BlackstartError(
            f"the archive cannot be written: {error.strerror}", where=file, next_step="make room, or name another place"
        ) from error


def _add_stdin(archive: Archive, path: str) -> None:
    with open(path, "rb") as given:
        data = given.read(STDIN_MAX_BYTES + 1)
    if len(data) > STDIN_MAX_BYTES:
        raise BlackstartError(
            f"the standard input is larger than {format_size(STDIN_MAX_BYTES)}, which is more than an archive holds",
            where=path,
            next_step="look for the finding with a shorter one: blackstart run --stdin FILE",
        )
    archive.add("stdin", data)
