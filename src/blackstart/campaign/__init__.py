"""The main job's three entries: run, plan, replay. Observe, choose, try, find; the views are others' work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from blackstart import __version__
from blackstart.campaign import ground, summary
from blackstart.campaign.campaign import Campaign
from blackstart.campaign.execute import Task
from blackstart.campaign.observe import Observation
from blackstart.campaign.replay import ReplayResult, replay
from blackstart.campaign.worker import Outcome
from blackstart.core.options import Options
from blackstart.core.verdict import worst
from blackstart.faults import Candidate
from blackstart.guard import Door, doors, parse_allowed
from blackstart.report.model import Report
from blackstart.report.progress import Progress
from blackstart.sandbox import choose, probe
from blackstart.store import Store
from blackstart.trials.plan import encode

__all__ = ["Outcome", "ReplayResult", "plan", "replay", "run"]


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
    isolation = options.isolation or choose(probe())
    campaign = Campaign(options, progress)
    seen = campaign.observe(isolation, tuple(a.address for a in allowed), host)
    listed = doors(seen.layout, isolation, allowed)
    try:
        ordered = campaign.choose(seen)
        progress.opened(summary.report_of(campaign, started, isolation, listed, seen))
        if is_plan:
            return summary.report_of(campaign, started, isolation, listed, seen, mode="plan", planned=ordered)
        with Store(options.cwd) as store:
            number = _begin(store, options)
            report = _work(campaign, seen, isolation, ordered, store, number, started, listed)
            store.finish_run(number, msgspec.json.encode(report))
        return report
    finally:
        seen.zygote.close()


def _begin(store: Store, options: Options) -> int:
    settings = msgspec.json.encode(summary.settings_of(options))
    return store.begin_run(options.command, options.seed, cwd=options.cwd, version=__version__, options=settings)


def _work(
    campaign: Campaign,
    seen: Observation,
    isolation: str,
    ordered: list[Candidate],
    store: Store,
    number: int,
    started: str,
    listed: list[Door],
) -> Report:
    """Null trials, then the trials themselves, each written down before and after."""
    shop = campaign.shop(seen, isolation)
    calibration = campaign.calibrate_nulls(seen, shop)
    shop = msgspec.structs.replace(shop, calibration=calibration)
    seen.calibration = calibration
    campaign.try_all(seen, shop, ordered, _Kept(store, number))
    return summary.report_of(campaign, started, isolation, listed, seen, run=str(number))


class _Kept:
    """Writes trials into the store: the plan before it runs, history and verdicts after."""

    def __init__(self, store: Store, run: int) -> None:
        self._store = store
        self._run = run

    def planned(self, task: Task) -> None:
        """The plan, before anything happens."""
        task.number = self._store.plan_trial(self._run, task.plan.kind, encode(task.plan))

    def done(self, task: Task, outcome: Outcome) -> None:
        """What came of it."""
        history = msgspec.msgpack.encode(outcome.history)
        verdicts = msgspec.msgpack.encode(outcome.verdicts)
        self._store.finish_trial(task.number, worst(outcome.verdicts), history, verdicts)
