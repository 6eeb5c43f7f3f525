"""A worker: one process with its own zygote, that does one trial after the other.

The start states were made by the campaign's own zygote; a worker copies them once.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import msgspec

from blackstart.campaign import ground
from blackstart.core.calibration import Calibration
from blackstart.core.errors import BlackstartError
from blackstart.core.history import History
from blackstart.core.masking import Masker
from blackstart.core.verdict import FAILED, UNKNOWN, Verdict
from blackstart.oracles import judge_all, suspicion
from blackstart.probes import Prober
from blackstart.sandbox import Layout
from blackstart.targets import Command, Service
from blackstart.trials import Bench, Plan, run_trial
from blackstart.trials.handlers import handlers_of
from blackstart.trials.outside import Outside
from blackstart.trials.power import clear_by_lane, run_power_trial
from blackstart.trials.rounds import rounds_of

_PR_SET_PDEATHSIG = 1
# What a terminal or an operator sends, often to the whole process group.
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker needs: the layout, the commands, the yardstick and where the start states lie; tree: the plan
    of the zygote that made them.
    """

    layout: Layout
    tree: dict[str, Any]
    isolation: str
    command: Command
    check: Command | None
    calibration: Calibration
    images: dict[str, str]
    companions: tuple[Command | Outside, ...] = ()
    service: Service | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial gave; suspicion: what it left behind that may add up, by name."""

    history: History
    verdicts: tuple[Verdict, ...]
    suspicion: str = ""


_bench: Bench | BlackstartError | None = None


def open_bench(shop: Workshop) -> Bench:
    """A bench with a zygote of its own, holding copies of all start states."""
    zygote = ground.open_zygote(shop.layout, shop.isolation, shop.tree)
    for name, directory in shop.images.items():
        zygote.adopt(name, directory)
    return Bench(
        zygote=zygote,
        command=shop.command,
        check=shop.check,
        masker=Masker(shop.calibration.mask),
        prober=Prober(zygote),
        calibration=shop.calibration,
        service=shop.service,
        companions=shop.companions,
        noted=ground.noted(shop.layout),
    )


def begin(shop: Workshop) -> None:
    """Called once in each worker process."""
    global _bench
    # A worker must not outlive the campaign, and interruptions are the campaign's to answer.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
    try:
        _bench = open_bench(shop)
    except BlackstartError as error:
        _bench = error  # told by the first trial: what escapes from here is only said to have broken the pool


def work(plan: Plan) -> Outcome:
    """Do one trial and judge it. What a passing trial read is not sent back: it can be large, and tells nothing."""
    if isinstance(_bench, BlackstartError):
        raise _bench
    assert _bench is not None
    outcome = try_and_judge(plan, _bench)
    if any(verdict.outcome == FAILED for verdict in outcome.verdicts):
        return outcome
    runs = tuple(msgspec.structs.replace(run, image={}) for run in outcome.history.runs)
    return msgspec.structs.replace(outcome, history=msgspec.structs.replace(outcome.history, runs=runs))


def try_and_judge(plan: Plan, bench: Bench) -> Outcome:
    """The trial's history and what the oracles say of it."""
    if plan.kind == "power":
        return _power(plan, bench)
    if plan.traces:
        return Outcome(history=_traced(plan, bench), verdicts=())
    history = run_trial(plan, bench)
    if plan.rounds and not history.trouble:
        keep, bench.keep = bench.keep, None
        history = msgspec.structs.replace(history, rounds=rounds_of(plan, bench))
        bench.keep = keep
    suspected = "" if plan.rounds or history.trouble else suspicion(history, bench.calibration)
    return Outcome(history=history, verdicts=judge_all(history, bench.calibration), suspicion=suspected)


def _traced(plan: Plan, bench: Bench) -> History:
    """What the trial met of handlers; whatever is in the way of that is no loss."""
    history = History(start=plan.start, kind=plan.kind)
    try:
        return msgspec.structs.replace(history, handlers=handlers_of(plan, bench))
    except BlackstartError as error:
        return msgspec.structs.replace(history, trouble=error.what)


def _power(plan: Plan, bench: Bench) -> Outcome:
    """By a lane where that is enough: everything passes, or fails as a trial in a sandbox of its own failed before."""
    cleared = clear_by_lane(plan, bench)
    if cleared is not None:
        verdicts = judge_all(cleared, bench.calibration)
        if not any(verdict.outcome == UNKNOWN for verdict in verdicts) and _failures(verdicts) <= bench.confirmed:
            return Outcome(history=cleared, verdicts=verdicts)
    history = run_power_trial(plan, bench)
    verdicts = judge_all(history, bench.calibration)
    bench.confirmed |= _failures(verdicts)
    return Outcome(history=history, verdicts=verdicts)


def _failures(verdicts: tuple[Verdict, ...]) -> set[tuple[str, ...]]:
    return {(v.oracle, v.consequence, v.label, *v.paths) for v in verdicts if v.outcome == FAILED}
