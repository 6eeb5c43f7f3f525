"""The main job's three entries: run, plan, replay. Observe, choose, try, find; the views are others' work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial

import msgspec

from blackstart import __version__
from blackstart.campaign import ground, summary
from blackstart.campaign.baseline import marked
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.disk import disk
from blackstart.campaign.execute import Task, WorkerLost
from blackstart.campaign.export import export
from blackstart.campaign.mildest import soften
from blackstart.campaign.observe import Observation
from blackstart.campaign.replay import ReplayResult, replay
from blackstart.campaign.shrinking import shrink
from blackstart.campaign.tally import Suspicion
from blackstart.campaign.worker import Outcome
from blackstart.core.options import Options
from blackstart.core.verdict import worst
from blackstart.faults import Candidate
from blackstart.findings.baseline import Known
from blackstart.guard import doors, opened_paths, parse_allowed
from blackstart.report import json
from blackstart.report.change import change_between
from blackstart.report.model import Report
from blackstart.report.progress import Progress
from blackstart.report.terminal import one_line
from blackstart.sandbox import choose as choose_isolation
from blackstart.sandbox import probe
from blackstart.store import Store
from blackstart.trials.plan import encode

__all__ = ["Outcome", "ReplayResult", "disk", "export", "plan", "replay", "run"]


def run(options: Options, progress: Progress, host: Mapping[str, str] = os.environ) -> Report:
    """Observe the target, break it, and say what it did not survive. Results are kept in `.blackstart/`."""
    return _do(options, progress, host, is_plan=False)


def plan(options: Options, progress: Progress, host: Mapping[str, str] = os.environ) -> Report:
    """The surface, the doors and the trials that `run` would do; nothing is injected."""
    return _do(options, progress, host, is_plan=True)


def _do(options: Options, progress: Progress, host: Mapping[str, str], *, is_plan: bool) -> Report:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    ground.command(options, host)
    allowed = [parse_allowed(text) for text in options.allow]
    isolation = options.isolation or choose_isolation(probe())
    # Opened first, so that a directory which cannot be written is told before anything is run.
    with ExitStack() as open_things:
        kept = None if is_plan else _Kept(open_things.enter_context(Store(options.cwd)), options, progress)
        if kept is not None:
            open_things.callback(ground.ledger(os.path.realpath(options.cwd), os.getpid()).settle)
        campaign = Campaign(options, progress, kept)
        seen = campaign.observe(isolation, opened_paths(allowed), host)
        open_things.callback(seen.zygote.close)
        report = partial(summary.report_of, campaign, started, isolation, doors(seen.layout, isolation, allowed))
        ordered = campaign.choose(seen)
        progress.opened(report(seen))
        if kept is None:
            return report(seen, mode="plan", planned=ordered)
        kept.accepted = campaign.known
        kept.begin()
        _work(campaign, seen, isolation, ordered)
        return kept.finish(report(seen, run=str(kept.run)))


def _work(campaign: Campaign, seen: Observation, isolation: str, ordered: list[Candidate]) -> None:
    """Null trials, then the trials themselves; Ctrl-C ends both, and what is known by then is reported.

    So it is where a worker is lost, once there is something to report.
    """
    shop = campaign.shop(seen, isolation)
    try:
        seen.calibration = campaign.calibrate_nulls(seen, shop)
        shop = msgspec.structs.replace(shop, calibration=seen.calibration)
        campaign.try_all(seen, shop, ordered)
        soften(campaign, shop)
        shrink(campaign, seen, shop)
    except KeyboardInterrupt:
        campaign.tally.is_interrupted = True
        campaign.tally.close(campaign.elapsed_s())
    except WorkerLost as error:
        if not campaign.tally.total:
            raise
        campaign.tally.lost = f"{error.what}; {error.next_step}"
        campaign.tally.close(campaign.elapsed_s())


class _Kept:
    """Writes into the store: plans before trials run, histories and verdicts after, findings once confirmed."""

    def __init__(self, store: Store, options: Options, progress: Progress) -> None:
        self._store = store
        self._options = options
        self._progress = progress
        self.run = 0
        self.accepted: dict[str, Known] = {}

    def begin(self) -> None:
        """The clean runs worked; the run has a number from now on."""
        options = self._options
        settings = json.encode_plain(summary.settings_of(options))
        self.run = self._store.begin_run(
            options.command, options.seed, cwd=options.cwd, version=__version__, options=settings
        )

    def planned(self, task: Task) -> None:
        """The plan, before anything happens."""
        task.number = self._store.plan_trial(self.run, task.plan.kind, encode(task.plan))

    def done(self, task: Task, outcome: Outcome) -> None:
        """What came of it."""
        verdicts = json.encode_plain(outcome.verdicts)
        self._store.finish_trial(task.number, worst(outcome.verdicts), encode(outcome.history), verdicts)

    def found(self, cause: str, known: Suspicion) -> None:
        """Kept at once, so that our own end does not lose it."""
        finding = summary.finding_of(known, self._options)
        self._store.add_finding(self.run, json.encode_plain(finding))
        if marked([finding], self.accepted, datetime.now(UTC).astimezone().date())[0].known:
            self._progress.note(f"known gap: {one_line(finding)}")
        else:
            self._progress.finding(one_line(finding))

    def finish(self, report: Report) -> Report:
        """The whole report, now with what changed since the last run of the same command."""
        before = self._store.previous_report(self.run)
        if before is not None:
            earlier = json.decode(before, where=self._store.path)
            report = msgspec.structs.replace(report, change=change_between(earlier, report))
        self._store.finish_run(self.run, json.encode(report))
        return report
