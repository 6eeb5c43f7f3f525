"""Whether a service does its work again once its peer is back: who is dead, who may only be backing off."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import STOPPED, Act, Census, End, History, Life, Run, WorkloadEnd
from blackstart.core.verdict import FAILED, PASSED, UNKNOWN
from blackstart.oracles.alive import judge

WELL = (Act(how="ok", id="1"),)
DEAF = (Act(how="info", id="1"), Act(how="info", id="2"))
ILL = (Act(how="ok", id="1"), Act(how="info", id="2"))


@pytest.mark.parametrize(
    ("life", "outcome", "word"),
    [
        ({"again": WELL}, PASSED, ""),
        ({"again": WELL, "again_workload": WorkloadEnd(code=1)}, FAILED, "neither tries"),
        ({"again": ILL}, FAILED, "neither tries"),
        ({"again": ILL, "pause_s": 3.0}, UNKNOWN, "wakes by itself"),
        ({"again": ILL, "pause_s": 3.0, "idle_s": 70.0}, UNKNOWN, "wakes by itself"),
        ({"again": ILL, "pause_s": 0.5, "idle_s": 40.0}, UNKNOWN, "wakes by itself"),
        ({"again": ILL, "pause_s": 0.5, "idle_s": 66.0}, FAILED, "for 66 s it has not tried"),
        ({"again": ILL, "connects": 2, "idle_s": 6.0, "pause_s": 3.0}, FAILED, "connected again, for 6 s"),
        ({"again": ILL, "connects": 2, "idle_s": 1.0}, UNKNOWN, "still connects"),
        ({"again": ILL, "connects": 1, "connected": 2, "idle_s": 6.0}, UNKNOWN, "still connects"),
        ({"again": ILL, "connects": 1, "connected": 2, "idle_s": 36.0}, FAILED, "neither tries"),
        ({"again": ILL, "connects": 1, "connected": 2, "idle_s": 36.0, "pause_s": 3.0}, UNKNOWN, "wakes by itself"),
        ({"again": ILL, "connects": 2, "connected": 2, "idle_s": 6.0}, FAILED, "connected again, for 6 s"),
    ],
)
def test_its_work_after_healing(life: dict[str, Any], outcome: str, word: str) -> None:
    see(life, "peer", outcome, word)


@pytest.mark.parametrize(
    ("life", "outcome", "word"),
    [
        ({"again": WELL}, PASSED, ""),
        ({"again": DEAF}, FAILED, "answers nobody any more"),
        ({"again": DEAF, "pause_s": 3.0}, FAILED, "answers nobody any more"),
        ({"again": DEAF, "pause_s": 30.0}, UNKNOWN, "something waits for 30 s"),
        ({"again": DEAF, "connects": 1, "idle_s": 1.0}, UNKNOWN, "still connects"),
        ({"again": DEAF, "is_at_work": True}, UNKNOWN, "it is at work"),
        ({"again": ILL}, UNKNOWN, "answers its users"),
        ({"again": (Act(how="fail", id="1"),) * 2}, UNKNOWN, "answers its users"),
        ({"again": (), "again_workload": WorkloadEnd(code=1)}, UNKNOWN, "answers its users"),
    ],
)
def test_one_that_answered_nobody_any_more(life: dict[str, Any], outcome: str, word: str) -> None:
    see(life, "errno", outcome, word)


@pytest.mark.parametrize(
    ("took_s", "clean_s", "how", "is_silent", "outcome"),
    [
        (2.0, 0.1, "fail", True, FAILED),
        (2.0, 0.1, "info", True, FAILED),
        (2.0, 0.1, "ok", True, UNKNOWN),
        (2.0, 0.1, "fail", False, UNKNOWN),
        (0.2, 0.1, "fail", True, UNKNOWN),
        (2.0, 1.9, "fail", True, UNKNOWN),
    ],
    ids=["in vain", "in vain, but for one", "one answer", "refused slowly", "refused at once", "a slow workload"],
)
def test_who_waited_in_vain_may_call_it_refused(
    took_s: float, clean_s: float, how: str, is_silent: bool, outcome: str
) -> None:
    again = (Act(how=how, id="1", at_s=10.0 + took_s), Act(how="fail", id="2", at_s=10.0 + 2 * took_s))
    clean = Life(ready_s=1.0, acts=(Act(how="ok", id="1", at_s=1.0 + clean_s),))
    word = "answers nobody any more" if outcome == FAILED else "answers its users"
    see({"again": again, "asked_s": 10.0, "is_silent": is_silent}, "errno", outcome, word, clean)


@pytest.mark.parametrize(
    ("life", "kind", "outcome", "word"),
    [
        ({"again": DEAF}, "errno", FAILED, "answers nobody any more"),
        ({"again": DEAF, "pause_s": 30.0}, "errno", UNKNOWN, "something waits for 30 s"),
        ({"again": ILL}, "errno", UNKNOWN, "answers its users"),
        ({"again": ()}, "errno", UNKNOWN, "still does something"),
        ({"again": DEAF}, "peer", UNKNOWN, "still does something"),
    ],
)
def test_one_that_is_never_ready_again_and_takes_in_whoever_asks(
    life: dict[str, Any], kind: str, outcome: str, word: str
) -> None:
    see({"again_s": -1.0, "tried": True, **life}, kind, outcome, word)


@pytest.mark.parametrize(("is_busy", "outcome"), [(False, FAILED), (True, UNKNOWN)])
def test_what_still_works_for_clients_that_are_gone_has_not_leaked_yet(is_busy: bool, outcome: str) -> None:
    life = Life(ready_s=1.0, acts=WELL, healed_s=5.0, again_s=5.1, stop_s=20.0, census=Census(descriptors=58))
    run = Run(phase="run", end=End(how=STOPPED), life=msgspec.structs.replace(life, is_busy=is_busy))
    chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=Life(census=Census(descriptors=8))),)
    (verdict,) = judge(History(start="S0", kind="clients", runs=(run,)), Calibration(chain=chain, is_service=True))
    assert (verdict.outcome, verdict.consequence) == (outcome, "leaked" if outcome == FAILED else "")


def see(life: dict[str, Any], kind: str, outcome: str, word: str, clean: Life | None = None) -> None:
    moments = {"ready_s": 1.0, "healed_s": 5.0, "again_s": 5.1, "stop_s": 20.0}
    given = Life(**{"again_workload": WorkloadEnd(code=0), **moments, **life})
    run = Run(phase="run", end=End(how=STOPPED), life=given)
    chain = (CleanRun(start="S0", code=0, elapsed_s=1.0, life=clean or Life()),)
    (verdict,) = judge(History(start="S0", kind=kind, runs=(run,)), Calibration(chain=chain, is_service=True))
    assert verdict.outcome == outcome, verdict
    assert word in (verdict.why or " ".join(verdict.evidence))
    assert verdict.consequence == ("dead" if outcome == FAILED else "")
