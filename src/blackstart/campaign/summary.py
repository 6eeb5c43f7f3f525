"""From what a campaign knows to the report's value. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

import msgspec

from blackstart import __version__
from blackstart.campaign import baseline
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.impact import impacts
from blackstart.campaign.observe import Observation
from blackstart.campaign.tally import NOT_FIRED, Suspicion, Tally
from blackstart.core.masking import ROOTED
from blackstart.core.options import Options
from blackstart.core.units import format_duration, plural
from blackstart.core.verdict import DEFECT, FAILED, PASSED, UNKNOWN
from blackstart.faults import Candidate
from blackstart.findings import Finding as Cause
from blackstart.findings import group, where
from blackstart.guard import Door
from blackstart.oracles.fired import DID_NOT_FIRE
from blackstart.report.model import (
    CalibrationSummary,
    CoveredPoint,
    Cut,
    Finding,
    KindCounts,
    Label,
    Omission,
    PlannedTrial,
    Report,
    ReportDoor,
    Severity,
    Surface,
    SurfaceFile,
    TrialsSummary,
)
from blackstart.report.points import Place
from blackstart.report.scenarios import with_scenarios
from blackstart.report.text import shell_line
from blackstart.report.timeline import timeline_of

NOTES_MAX = 20
UNREPEATED_MAX = 12
# Of trials that told nothing: above it, the silence of the others is no answer for the program.
OPEN_SHARE_MAX = 0.5
NOTHING = "nothing was seen that a fault could break"
# Fewer tell no pace.
ENOUGH_TRIALS = 10
_NUMBERED = re.compile(r" [(][0-9]+[)]$")  # what the masker adds where several files share a name
_WHICH = "several files have this name but for what differs in each run, so that which is which cannot be told"


def report_of(
    campaign: Campaign,
    started: str,
    isolation: str,
    doors: Iterable[Door],
    seen: Observation,
    *,
    mode: str = "run",
    planned: Iterable[Candidate] = (),
    run: str = "",
) -> Report:
    """The report as far as it is known now."""
    tally, options = campaign.tally, campaign.options
    found, unproven = _findings(tally, options)
    today = datetime.fromtimestamp(campaign.clock.now()).date()
    findings = baseline.marked(found, campaign.known, today)
    status = _exit_status(campaign, findings, is_plan=mode == "plan")
    report = Report(
        command=options.command,
        version=__version__,
        mode="plan" if mode == "plan" else "run",
        run=run,
        cwd=options.cwd,
        seed=options.seed,
        started=started,
        elapsed_s=campaign.elapsed_s(),
        isolation=isolation,
        jobs=campaign.jobs,
        options=settings_of(options),
        surface=_surface(seen),
        doors=tuple(msgspec.convert(msgspec.to_builtins(d), ReportDoor) for d in doors),
        calibration=_calibration(seen, tally),
        trials=_trials(tally, options, planned),
        findings=findings,
        coverage=_coverage(tally, seen, findings),
        impact=impacts(tally.samples, repeats=seen.calibration.repeats),
        muted=tuple(Omission(what=what, why=why) for what, why in sorted(tally.muted.items())),
        uncovered=(*_uncovered(seen), *_stop(seen), *unproven, *_handlers(tally)),
        notes=(*seen.notes, *_idle(campaign), *_common(tally.unknown), *_told(tally)),
        exit_status=status,
        undecided=_undecided(campaign) if status == 3 else "",
    )
    report = with_scenarios(report, campaign.scenarios, campaign.kinds)
    if options.baseline:
        used = baseline.use_of(report, options.baseline, campaign.known, today)
        report = msgspec.structs.replace(report, baseline=used)
    return report


def _handlers(tally: Tally) -> Iterator[Omission]:
    """The `except` and `finally` blocks that no trial entered, as far as is known."""
    some_left = "not executed by any trial under a tracer; others may have"
    why = some_left if tally.untraced else "never executed by any trial"
    for (path, line, what), ran in sorted(tally.handlers.items()):
        if not ran:
            yield Omission(what=f"{path}:{line} {what}", why=why)


def _entered(tally: Tally) -> Iterator[str]:
    """How many of them were, and how much that says."""
    if tally.handlers:
        left = len(tally.untraced)
        more = f"; not traced, as that may take a seventh of the time: {plural(left, 'sort')} of faults" if left else ""
        entered = f"{sum(tally.handlers.values())} of {len(tally.handlers)} except and finally blocks were executed"
        yield f"{entered}, as {plural(len(tally.traced) + 1, 'trial')} under a tracer told{more}"


def settings_of(options: Options) -> dict[str, object]:
    """The options but the command, for a replay elsewhere."""
    kept = msgspec.to_builtins(options)
    return {name: value for name, value in kept.items() if name not in ("command", "json")}


def _surface(seen: Observation) -> Surface:
    counts: dict[str, int] = {}
    for clean in seen.calibration.chain:
        for operation in clean.trace:
            counts[operation.masked] = counts.get(operation.masked, 0) + 1
    files = tuple(
        SurfaceFile(path=path, role=role, calls=counts.get(path, 0))
        for path, role in sorted(seen.surface.files.items())
    )
    return Surface(
        files=files,
        databases=seen.surface.databases,
        peers=seen.surface.peers,
        ports=seen.surface.ports,
        processes=seen.surface.programs,
        signals=seen.surface.signals,
        unseen=_uncovered(seen),
    )


def _uncovered(seen: Observation) -> tuple[Omission, ...]:
    hopeless = seen.calibration.mask.hopeless
    families = {path: _NUMBERED.sub("", path) for path in sorted(hopeless) if "*" in path}
    shared = {family for path, family in families.items() if family != path}
    alone = (path for path in sorted(hopeless) if families.get(path) not in shared)
    return (
        *(Omission(what=what, why=why) for what, why in seen.surface.uncovered.items()),
        *(Omission(what=path, why="it differs in each clean run and cannot be masked") for path in alone),
        *(Omission(what=family, why=_WHICH) for family in sorted(shared)),
    )


def _stop(seen: Observation) -> tuple[Omission, ...]:
    """How a service stops is not judged where it goes on when it is told to, though nothing is broken."""
    if any(clean.life is not None and clean.life.held_up is not None for clean in seen.calibration.chain):
        return (Omission(what="how it stops", why="it does not end on TERM, even undisturbed"),)
    return ()


def _calibration(seen: Observation, tally: Tally) -> CalibrationSummary:
    mask = seen.calibration.mask
    masked = [name for _, name in mask.names if name not in ROOTED]
    masked += [f"{path}: {leaf}" for path, leaves in sorted(mask.leaves.items()) for leaf in leaves]
    masked += [f"{path}: {_readable(line)}" for path, lines in sorted(mask.lines.items()) for line in lines]
    return CalibrationSummary(
        clean_runs=seen.clean_runs,
        null_trials=tally.nulls,
        slowest_s=seen.calibration.slowest_s,
        elapsed_s=tally.calibration_s,
        refuses_rerun=seen.calibration.refuses_rerun,
        has_check=seen.calibration.has_check,
        write_behind=seen.calibration.write_behind,
        masked=tuple(dict.fromkeys(masked)),
    )


def _readable(pattern: str) -> str:
    """A line pattern of the mask for a person: `*` for what is masked, the rest as it is written in the line."""
    plain = re.sub(r"\(\?<?[!=:][^()]*\)", "", pattern).replace(".*?", "…").removesuffix(".*")
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\((?:[^()\\]|\\.)*\)", "*", plain))


def _trials(tally: Tally, options: Options, planned: Iterable[Candidate]) -> TrialsSummary:
    kinds = tuple(
        KindCounts(
            kind=kind,
            passed=counts.get(PASSED, 0),
            failed=counts.get(FAILED, 0),
            unknown=counts.get(UNKNOWN, 0),
            not_fired=counts.get(NOT_FIRED, 0),
        )
        for kind, counts in sorted(tally.counts.items())
    )
    cut = (Cut(count=tally.cut, why=_why_cut(options, tally)),) if tally.cut else ()
    shown = tuple(
        PlannedTrial(
            kind=c.fault.kind, fault=f"{c.fault} (from {c.start})", path=c.path, phase=c.fault.phase, places=c.places
        )
        for c in planned
    )
    return TrialsSummary(total=sum(kind.total for kind in kinds), kinds=kinds, cut=cut, planned=shown)


def _why_cut(options: Options, tally: Tally) -> str:
    if tally.is_interrupted or tally.lost:
        return tally.lost or "it was interrupted"
    if options.trials:
        return f"--trials {options.trials} asks for no more"
    return f"the budget was spent{_would_do(options, tally)}"


def _would_do(options: Options, tally: Tally) -> str:
    """The budget that would do about all trials at the pace of those that were done; twice this one if they are few."""
    if tally.total < ENOUGH_TRIALS:
        minutes = math.ceil(2 * max(options.budget_s, tally.elapsed_s) / 60)
        return f" (--budget {minutes}m would do more)" if minutes else ""
    pace_s = (tally.elapsed_s - tally.calibration_s) / tally.total
    minutes = math.ceil((tally.calibration_s + pace_s * tally.chosen) / 60)
    return f" (--budget {minutes}m would do about all)"


def _coverage(tally: Tally, seen: Observation, findings: Iterable[Finding]) -> tuple[CoveredPoint, ...]:
    """Every class of points of failure that was tried, by kind, file and call."""
    found: dict[Place, list[str]] = {}
    for finding in findings:
        for place in tally.suspicions[finding.fingerprint].places:
            found.setdefault(place, []).append(finding.id)
    return tuple(
        CoveredPoint(
            **msgspec.to_builtins(place),
            role=seen.surface.files.get(place.path, ""),
            passed=counts.get(PASSED, 0),
            failed=counts.get(FAILED, 0),
            unknown=counts.get(UNKNOWN, 0),
            not_fired=counts.get(NOT_FIRED, 0),
            found=tuple(found.get(place, ())),
        )
        for place, counts in sorted(tally.places.items(), key=lambda item: msgspec.structs.astuple(item[0]))
    )


def _findings(tally: Tally, options: Options) -> tuple[tuple[Finding, ...], list[Omission]]:
    """What reproduced, the most severe first; what did not, or whose oracle was muted since, is said to be so."""
    shown: dict[str, Suspicion] = {}
    unproven: list[Omission] = []
    for cause, suspicion in tally.suspicions.items():
        first = suspicion.failures[0]
        if first.verdict.oracle in tally.muted:
            why = f"muted: `{first.verdict.oracle}` fails without any fault; it had found: {first.verdict.consequence}"
            unproven.append(Omission(what=first.fault, why=why))
        elif suspicion.reproduction.shown:
            shown[cause] = suspicion
        elif suspicion.label == DEFECT:
            again = f"reproduced {suspicion.reproduction}" if suspicion.repeats else "there was no time to repeat it"
            why = f"{first.verdict.consequence} was seen once and {again}"
            unproven.append(Omission(what=first.fault, why=why))
    failures = [failure for suspicion in shown.values() for failure in suspicion.failures]
    return tuple(_finding(found, shown[found.fingerprint], options) for found in group(failures)), unproven


def _unrepeated(tally: Tally) -> list[str]:
    """What is no defect and was seen once: its repetitions come last, so where trials were cut there was no time."""
    seen = [
        f"seen once, with no time to repeat it: {first.fault}: {first.verdict.evidence[0]}"
        for suspicion in tally.suspicions.values()
        if suspicion.label != DEFECT and not suspicion.repeats and not suspicion.is_confirmed
        if (first := suspicion.failures[0]).verdict.oracle not in tally.muted
    ]
    more = [f"… and {len(seen) - UNREPEATED_MAX} more that were seen once"] if len(seen) > UNREPEATED_MAX else []
    return seen[:UNREPEATED_MAX] + more


def _postponed(tally: Tally) -> list[str]:
    """What clean runs do not leave, and was not done again and again, which alone tells whether it adds up."""
    return [
        f"{what}: more than clean runs leave, seen once; whether it adds up was not tried "
        f"(--budget {format_duration(math.ceil(seconds))} would do)"
        for what, seconds in list(tally.postponed.items())[:UNREPEATED_MAX]
    ]


def finding_of(suspicion: Suspicion, options: Options) -> Finding:
    """One confirmed cause as the report shows it."""
    return _finding(group(suspicion.failures)[0], suspicion, options)


def _finding(found: Cause, suspicion: Suspicion, options: Options) -> Finding:
    identifier = f"{found.consequence}-{found.fingerprint.partition('-')[2][:8]}"
    report = options.json if options.json != "-" else ""
    reference = f"{report}#{identifier}" if report else identifier
    return Finding(
        id=identifier,
        fingerprint=found.fingerprint,
        severity=cast(Severity, found.severity),
        label=cast(Label, found.label),
        consequence=found.consequence,
        kind=found.kind,
        fault=found.fault,
        where=where(suspicion.failures[0], suspicion.stack) or found.where,
        evidence=found.evidence,
        paths=found.paths,
        advice=found.advice,
        reproduced=str(suspicion.reproduction),
        replay=shell_line(("blackstart", "replay", reference)),
        trials=len(found.trials),
        found_s=round(suspicion.found_s, 3),
        stack=_stack(suspicion),
        plan=msgspec.to_builtins(suspicion.plan),
        timeline=timeline_of(suspicion.failures[0].history, [fault.phase for fault in suspicion.plan.faults]),
    )


def _stack(suspicion: Suspicion) -> tuple[str, ...]:
    """The frames of the call at which the first failing fault fired, innermost first; () where they are a guess."""
    operation = suspicion.failures[0].operation
    known = operation.site if operation and not suspicion.wants_stack else ()
    return suspicion.stack or known


def _common(counts: dict[str, int]) -> list[str]:
    """The commonest sentences with how often they were said; of faults that did not fire for one reason the first."""
    alike: dict[str, list[str]] = {}
    for text in counts:
        _, fault_is_named, reason = text.partition(DID_NOT_FIRE)
        alike.setdefault(reason if fault_is_named else text, []).append(text)
    told = {_together(texts): sum(counts[text] for text in texts) for texts in alike.values()}
    ordered = sorted(told.items(), key=lambda item: -item[1])[:NOTES_MAX]
    return [text if count == 1 else f"{text} ({count} trials)" for text, count in ordered]


def _together(texts: list[str]) -> str:
    first, *others = texts
    return first if not others else f"{first}; likewise {len(others)} more"


def _exit_status(campaign: Campaign, findings: tuple[Finding, ...], *, is_plan: bool) -> int:
    tally = campaign.tally
    if tally.is_interrupted:
        return 130
    if any(finding.counts for finding in findings):
        return 1
    if is_plan:
        return 0
    return 3 if _undecided(campaign) else 0


def _told(tally: Tally) -> tuple[str, ...]:
    return *_unrepeated(tally), *_postponed(tally), *_entered(tally)


def _idle(campaign: Campaign) -> list[str]:
    """What to do about a program with nothing to break."""
    if _undecided(campaign) != NOTHING or campaign.tally.unknown:
        return []
    is_unused = campaign.options.ready and not campaign.options.workload
    step = "let something use it (--workload)" if is_unused else "give it arguments with which it keeps or reads some"
    return [f"no file and no peer of its own was seen: {step}"]


def _undecided(campaign: Campaign) -> str:
    """Why the silence of this run proves nothing; "" where it does."""
    tally = campaign.tally
    cut = f": {_why_cut(campaign.options, tally)}" if tally.cut else ""
    if tally.lost:
        return tally.lost
    if not tally.total:
        return f"no trial was done before the end{cut}" if cut else NOTHING
    conclusive = {kind for kind, counts in tally.counts.items() if counts.get(PASSED) or counts.get(FAILED)}
    if not conclusive:
        return "no trial could be judged"
    missed = [kind for kind in campaign.options.only if kind not in conclusive]
    untried = [kind for kind in missed if not sum(tally.counts.get(kind, {}).values())]
    if untried:
        return f"no trial of kind {', '.join(untried)} was done{cut}"
    if missed:
        return f"no trial of kind {', '.join(missed)} could be judged"
    open_ones = sum(counts.get(UNKNOWN, 0) + counts.get(NOT_FIRED, 0) for counts in tally.counts.values())
    share = open_ones / tally.total
    if share <= OPEN_SHARE_MAX:
        return ""
    return f"{open_ones} of {tally.total} trials ({share:.0%}) could not be judged; the notes say why"
