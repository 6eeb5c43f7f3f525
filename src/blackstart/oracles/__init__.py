"""Judges of a history: pure, so that they judge a stored one again.

Each oracle is one module with `judge(history, calibration)`, which gives one or more verdicts. `judge_all` asks all
oracles of a job, or of a service: a fault that did not reach the target leaves nothing else to judge; an oracle that
crashes or is muted says unknown; what several oracles say of the same file becomes one verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from blackstart.core.calibration import Calibration
from blackstart.core.history import History
from blackstart.core.verdict import FAILED, NOTE, PASSED, Verdict, passed, unknown
from blackstart.oracles import (
    acknowledged,
    alive,
    answer,
    end,
    fired,
    left,
    power,
    promises,
    readable,
    restart,
    state,
    stopping,
    together,
    twice,
)

Judge = Callable[[History, Calibration], tuple[Verdict, ...]]

JOB_ORACLES: Mapping[str, Judge] = {
    fired.NAME: fired.judge,
    end.NAME: end.judge,
    state.NAME: state.judge,
    restart.NAME: restart.judge,
    acknowledged.NAME: acknowledged.judge,
    answer.NAME: answer.judge,
    together.NAME: together.judge,
    twice.NAME: twice.judge,
    power.NAME: power.judge,
    left.NAME: left.judge,
}

SERVICE_ORACLES: Mapping[str, Judge] = {
    fired.NAME: fired.judge,
    end.NAME: end.judge,
    readable.NAME: readable.judge,
    restart.NAME: restart.judge,
    promises.NAME: promises.judge,
    alive.NAME: alive.judge,
    stopping.NAME: stopping.judge,
    left.NAME: left.judge,
}

# Of several verdicts on one file the first in this order stands, with the evidence of the others.
_STANDS = (("power", ""), ("state", "corrupt"), ("state", "lost"), ("state", "silent"), ("end", ""),
           ("answer", ""), ("acknowledged", ""), ("restart", ""))  # fmt: skip

suspicion = left.suspicion

__all__ = ["JOB_ORACLES", "SERVICE_ORACLES", "judge_all", "suspicion", "unless_muted"]


def judge_all(
    history: History, calibration: Calibration, oracles: Mapping[str, Judge] | None = None
) -> tuple[Verdict, ...]:
    """The verdicts of all oracles, those that are muted as unknown."""
    if oracles is None:
        oracles = SERVICE_ORACLES if calibration.is_service else JOB_ORACLES
    verdicts: list[Verdict] = []
    for name, judge in oracles.items():
        found = _safely(name, judge, history, calibration)
        verdicts += found
        if name == fired.NAME and any(verdict.outcome != PASSED for verdict in found):
            return tuple(verdicts)
    verdicts = [unless_muted(verdict, calibration.muted) for verdict in verdicts]
    return _one_per_file(power.relabel(verdicts, history, calibration))


def _safely(name: str, judge: Judge, history: History, calibration: Calibration) -> tuple[Verdict, ...]:
    try:
        return judge(history, calibration)
    except Exception as error:  # a crashed oracle is unknown, never a pass
        return (unknown(name, f"the oracle crashed: {type(error).__name__}: {error}"),)


def unless_muted(verdict: Verdict, muted: Mapping[str, str]) -> Verdict:
    """The verdict; what a muted oracle found is unknown. muted: oracle -> why."""
    if verdict.outcome != FAILED or verdict.oracle not in muted:
        return verdict
    return unknown(verdict.oracle, f"muted ({muted[verdict.oracle]}); it found: {verdict.consequence}")


def _one_per_file(verdicts: list[Verdict]) -> tuple[Verdict, ...]:
    """Fold verdicts that fail on the same path into the one that says most."""
    failures = [v for v in verdicts if v.outcome == FAILED and v.paths]
    failures.sort(key=_rank)
    kept: list[Verdict] = []
    folded: dict[int, Verdict] = {}
    for verdict in failures:
        stands = next((one for one in kept if set(one.paths) & set(verdict.paths)), None)
        if stands is None:
            kept.append(verdict)
            continue
        more = tuple(text for text in verdict.evidence if text not in stands.evidence)
        together = msgspec.structs.replace(stands, evidence=(*stands.evidence, *more))
        kept[kept.index(stands)] = together
        folded[id(verdict)] = passed(verdict.oracle, f"part of what `{stands.oracle}` found")
    by_rank = {_key(one): one for one in kept}
    return tuple(folded.get(id(v), by_rank.get(_key(v), v)) for v in verdicts)


def _key(verdict: Verdict) -> tuple[str, str, tuple[str, ...], str]:
    return verdict.oracle, verdict.consequence, verdict.paths, verdict.outcome


def _rank(verdict: Verdict) -> tuple[bool, int]:
    is_note = verdict.label == NOTE  # must not hide a defect
    for rank, (oracle, consequence) in enumerate(_STANDS):
        if verdict.oracle == oracle and consequence in ("", verdict.consequence):
            return is_note, rank
    return is_note, len(_STANDS)
