"""What faults cost those who use a service: availability and latency before, during and after, and the time to recover.

Taken from every trial that could be judged, not from the failing ones only. A trial in which the service was not well
again counts for as long as it was watched. Pure.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from blackstart.core.history import KILLED, Act, History, Life
from blackstart.core.verdict import FAILED, Verdict
from blackstart.criteria.survival import kaplan_meier, median_s
from blackstart.report.model import Impact, Recovery, Served

_WHENS = ("before", "during", "after")
# So many trials of each kind use the service once more when all is healed.
MEASURED = 3
NO_TRIAL = "the workload had ended before the fault was healed, and no trial was left to run it once more"
NO_REPEAT = "a second run of the workload is not known to be answered even where nothing is broken"


class Answers(msgspec.Struct, frozen=True):
    """What is kept of the lines that a workload said in one stage of one trial: there may be very many."""

    asked: int
    answered: int
    latencies_ms: array[float]

    @classmethod
    def of(cls, acts: Sequence[Act]) -> Answers:
        """latencies_ms: of those that were answered, where that was told."""
        answered = [act for act in acts if act.how == "ok"]
        taken = array("d", (act.latency_ms for act in answered if act.latency_ms >= 0))
        return cls(len(acts), len(answered), taken)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what the workload said before, during and after the fault; (seconds, whether it was well again then)
    counted from the injection and from the healing, None where it did not come to that.
    """

    served: tuple[Answers, ...]
    since_injection: tuple[float, bool] | None = None
    since_healing: tuple[float, bool] | None = None


def sample(history: History, verdicts: Sequence[Verdict] = ()) -> Sample | None:
    """What a trial tells; None of a job, and where nothing acted while the service was up.

    verdicts: of the trial. Who is dead was never well again, however soon it looked ready.
    """
    first = history.run("run")
    if first is None or first.life is None or not any(one.fired for one in history.injected):
        return None
    life = first.life
    if life.ready_s < 0 or life.fired_s < 0:
        return None
    if any(one.outcome == FAILED and one.consequence == "dead" for one in verdicts):
        life = msgspec.structs.replace(life, again_s=-1.0)
    restart = history.run("restart")
    afterwards = (one.after for one in (life, restart.life if restart else None) if one is not None)
    healed_s = life.healed_s if life.healed_s >= 0 else math.inf
    parts: dict[str, list[Act]] = {when: [] for when in _WHENS}
    for act in life.acts:
        when = "before" if act.at_s < life.fired_s else "during" if act.at_s < healed_s else "after"
        parts[when].append(act)
    for acts in afterwards:
        parts["after"].extend(acts)
    served = tuple(Answers.of(parts[when]) for when in _WHENS)
    if first.end.how == KILLED:
        return Sample(served=served, since_healing=_of_restart(history))
    if life.healed_s < 0:
        return Sample(served=served)
    return Sample(
        served=served, since_injection=_until_well(life, life.fired_s), since_healing=_until_well(life, life.healed_s)
    )


def wants_measure(known: Sequence[Sample], asked: int) -> bool:
    """Whether a trial of this kind is done once more to use the service after healing: mostly the workload ends before
    that. known: what trials of the kind told; asked: how many were done once more already.
    """
    return asked < MEASURED and bool(known) and not known[-1].served[2].asked


def impacts(samples: Mapping[str, Sequence[Sample]], *, repeats: bool = True) -> tuple[Impact, ...]:
    """By kind of fault; repeats: whether the workload can be run twice."""
    why = NO_TRIAL if repeats else NO_REPEAT
    return tuple(
        Impact(
            kind=kind,
            trials=len(seen),
            served=tuple(_served(when, [one.served[k] for one in seen]) for k, when in enumerate(_WHENS)),
            not_measured="" if any(one.served[2].asked for one in seen) else why,
            recoveries=(
                *_recovery("injection", [one.since_injection for one in seen]),
                *_recovery("healing", [one.since_healing for one in seen]),
            ),
        )
        for kind, seen in sorted(samples.items())
    )


def _until_well(life: Life, since_s: float) -> tuple[float, bool] | None:
    if life.again_s >= 0:
        return max(life.again_s - since_s, 0.0), True
    return (life.stop_s - since_s, False) if life.stop_s >= since_s else None


def _of_restart(history: History) -> tuple[float, bool] | None:
    """After a kill the restart is the healing, and it takes until that is ready."""
    again = history.run("restart")
    if again is None or again.life is None:
        return None
    return (again.life.ready_s, True) if again.life.ready_s >= 0 else (again.end.elapsed_s, False)


def _served(when: str, seen: Sequence[Answers]) -> Served:
    taken = sorted(taken_ms for one in seen for taken_ms in one.latencies_ms)
    return Served(
        when=when,
        asked=sum(one.asked for one in seen),
        answered=sum(one.answered for one in seen),
        p50_ms=_share(taken, 0.5),
        p99_ms=_share(taken, 0.99),
    )


def _share(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so many do not exceed; -1 of nothing."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else -1.0


def _recovery(since: str, seen: Iterable[tuple[float, bool] | None]) -> tuple[Recovery, ...]:
    durations = [one for one in seen if one is not None]
    if not durations:
        return ()
    curve = kaplan_meier(durations)
    half_s = median_s(curve)
    return (
        Recovery(
            since=since,
            trials=len(durations),
            recovered=sum(done for _, done in durations),
            median_s=-1.0 if half_s is None else half_s,
            watched_s=max(seconds for seconds, _ in durations),
            curve=tuple((step.at_s, step.share) for step in curve),
        ),
    )
