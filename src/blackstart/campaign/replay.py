"""A finding's trial again, told step by step.

The plan of the finding is done once, as it was written down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from blackstart.campaign import choose
from blackstart.campaign.anew import must_begin, observed, plan_of
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.observe import Observation
from blackstart.campaign.serving import patience_of
from blackstart.campaign.worker import Outcome, try_and_judge
from blackstart.core.frames import shown_frame
from blackstart.core.history import DEADLINE, EXITED, KILLED, STOPPED, Run
from blackstart.core.options import Options
from blackstart.core.units import plural
from blackstart.core.verdict import DEFECT, FAILED, PASSED, UNKNOWN
from blackstart.findings import Failure, cause_of
from blackstart.oracles.showing import short
from blackstart.report.progress import Progress
from blackstart.trials import Plan

# Lines that are shown, enough for a traceback: of a longer one the first, with the program's own code, and the last,
# where the error is. And how much of a line.
SAID_MAX, SAID_FIRST, ANSWERED_MAX, LINE_MAX = 12, 5, 8, 160
STREAMS = ("stdout", "stderr")
NEIGHBOURS_MAX = 24


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """outcome: failed (it still fails), passed or unknown; lines: what happened, a sentence each; said: where the lines
    show but a part of what the program said, all of it, by the names of the start and the stream.
    """

    outcome: str
    lines: tuple[str, ...]
    said: dict[str, bytes] = {}


def replay(
    finding: Mapping[str, Any], options: Options, progress: Progress, host: Mapping[str, str] = os.environ
) -> ReplayResult:
    """Do the trial of a finding (as the report holds it) again."""
    plan = plan_of(finding)
    campaign = Campaign(options, progress)
    with observed(campaign, host) as seen:
        must_begin(plan, seen)
        progress.phase("replaying")
        patience = plan.patience.no_less_than(patience_of(seen.calibration))
        plan = msgspec.structs.replace(plan, patience=patience)
        outcome = try_and_judge(plan, seen.bench)
        result, lines = _outcome(outcome, finding), list(_story(plan, outcome))
        if result == UNKNOWN and not outcome.history.trouble and not any(i.fired for i in outcome.history.injected):
            result, more = _neighbours(campaign, seen, plan, finding)
            lines += more
    return ReplayResult(outcome=result, lines=tuple(lines), said=_said_more(outcome))


def _neighbours(campaign: Campaign, seen: Observation, plan: Plan, finding: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The program no longer comes to the place of the fault: faults of the same kind elsewhere in it decide.

    A repair often removes the very call that failed; not to have fired is no pass, so its successors are tried.
    """
    found = choose.order(choose.candidates(seen.calibration, (plan.kind,), (plan.start,)), (plan.start,))
    patience = patience_of(seen.calibration)
    conclusive = 0
    for number, candidate in enumerate(found[:NEIGHBOURS_MAX]):
        neighbour = campaign.plan_of(candidate, number, patience, plan.rerun)
        outcome = try_and_judge(neighbour, seen.bench)
        result = _outcome(outcome, finding)
        if result == FAILED:
            return FAILED, [
                "the place is gone, but another fault of this kind does the same:",
                *_story(neighbour, outcome),
            ]
        conclusive += result == PASSED
    if not conclusive:
        return UNKNOWN, []
    others = f"{plural(conclusive, 'other fault')} of kind {plan.kind} {'was' if conclusive == 1 else 'were'} tried"
    return PASSED, [f"the place is gone; {others}, and none does the same"]


def fails_again(outcome: Outcome, finding: Mapping[str, Any]) -> bool:
    """Whether it fails in the same way: the same cause, or the same consequence on the same files."""
    for verdict in outcome.verdicts:
        if verdict.outcome != FAILED:
            continue
        again = cause_of(Failure(history=outcome.history, verdict=verdict))
        same_files = not verdict.paths or bool(set(verdict.paths) & set(finding.get("paths", ())))
        if again == finding.get("fingerprint") or (verdict.consequence == finding.get("consequence") and same_files):
            return True
    return False


def _outcome(outcome: Outcome, finding: Mapping[str, Any]) -> str:
    """failed only if it fails in the same way."""
    if fails_again(outcome, finding):
        return FAILED
    # An oracle that could not say would not have seen it, and one that fails in another way says something else: only
    # a trial that was judged whole, and in which nothing failed, is a pass.
    undecided = any(v.outcome == UNKNOWN or (v.outcome == FAILED and v.label == DEFECT) for v in outcome.verdicts)
    return UNKNOWN if undecided or outcome.history.trouble else PASSED


def _story(plan: Plan, outcome: Outcome) -> Iterator[str]:
    history = outcome.history
    yield f"start: state {plan.start} ({_start_in_words(plan.start)})"
    for injected in history.injected:
        yield f"fault: {injected.fault}"
        if injected.fired and injected.operation:
            site = f" at {shown_frame(injected.operation.site[0])}" if injected.operation.site else ""
            same = " (not the planned operation: the program has drifted)" if injected.matched is False else ""
            yield f"  fired in {injected.operation.call} {injected.operation.masked}{site}{same}"
        elif not injected.fired:
            yield f"  did not fire: {injected.note}"
        elif injected.note:
            yield f"  {injected.note}"
    starts = [run for run in history.runs if run.phase != "before"]  # what stood there after the damage is no start
    for before, run in zip([None, *starts], starts, strict=False):
        yield from _run_in_words(run, before)
    for reset in history.resets:
        what = [f"{p} removed" for p in reset.removed] + [f"{p} put back" for p in reset.put_back]
        yield f"reset: {', '.join(what)}: {'it starts again' if reset.helped else 'no help'}"
    if history.late:
        clock = f", with a clock that is {history.ahead_s:.0f} s ahead" if history.ahead_s else ""
        yield f"{history.late_s:.0f} s later{clock}:"
        yield from _run_in_words(history.late)
    if history.good_again:
        yield from _run_in_words(history.good_again)
    for verdict in outcome.verdicts:
        if verdict.outcome == FAILED:
            yield f"{verdict.oracle}: {verdict.consequence} {' '.join(verdict.paths)}".rstrip()
            yield from (f"  {line}" for line in verdict.evidence)
        elif verdict.outcome == UNKNOWN:
            yield f"{verdict.oracle}: unknown: {verdict.why}"


def _lines(run: Run, stream: str) -> list[str]:
    return run.text(stream).decode("utf-8", "surrogateescape").strip().splitlines()


def _said_more(outcome: Outcome) -> dict[str, bytes]:
    """What the story shows a part of only."""
    history = outcome.history
    runs = [*history.runs, *(run for run in (history.late, history.good_again) if run)]
    return {
        f"{run.phase}.{stream}": run.text(stream)
        for run in runs
        if run.phase != "before"
        for stream in STREAMS
        if len(lines := _lines(run, stream)) > SAID_MAX or any(len(line) > LINE_MAX for line in lines)
    }


def _start_in_words(start: str) -> str:
    runs = int(start[1:]) if start[1:].isdigit() else 0
    return "as it is here" if runs == 0 else f"after {plural(runs, 'clean run')}"


def _run_in_words(run: Run, before: Run | None = None) -> Iterator[str]:
    """before: the start that was told just before, so that what both said is told once."""
    end = run.end
    how = {
        EXITED: f"exit status {end.code}",
        KILLED: "killed by the fault",
        STOPPED: "told to stop, and " + (f"ended by signal {end.signal}" if end.signal else f"exit status {end.code}"),
        DEADLINE: f"did not end ({end.wait.state} in {end.wait.call or 'its own code'})" if end.wait else "did not end",
    }.get(end.how, f"ended by signal {end.signal}")
    yield f"{run.phase}: {how} after {end.elapsed_s:.2f} s"
    for stream in STREAMS:
        lines = _lines(run, stream)
        if len(lines) > 1 and before is not None and lines == _lines(before, stream):
            yield f"  {stream}: the same {len(lines)} lines"
            continue
        left_out = len(lines) - SAID_MAX
        if left_out > 0:
            lines[SAID_FIRST : SAID_FIRST + left_out] = [f"… ({left_out} lines between)"]
        yield from (f"  {stream}: {short(line, LINE_MAX)}" for line in lines)
    for reading in run.readings:
        code, _, answer = reading.value.partition("\n")
        yield f"  check: {reading.error or f'exit status {code}'}"
        yield from (f"    {line}" for line in answer.strip().splitlines()[-ANSWERED_MAX:])
