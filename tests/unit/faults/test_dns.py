"""Kind dns: from which questions on, and when it is said to have fired."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from blackstart.core.history import Peer as Told
from blackstart.faults import AnyFault
from blackstart.faults.dns import RESOLVER, Dns, candidates
from blackstart.faults.scene import CannotInject
from blackstart.proxy.resolver import HOWS, NXDOMAIN, Resolver

from .build import atomic_rewrite, calibration, clean
from .scenes import conducted, scene


class Company:
    def __init__(self) -> None:
        self.resolver = Resolver()
        self.broken: Any = None

    def call(self, work: Any) -> Any:
        return asyncio.run(work)

    def breaks(self, path: str, broken: Any) -> None:
        assert path == RESOLVER
        self.broken = broken


def test_it_is_broken_within_and_well_afterwards() -> None:
    one, company = scene(), Company()
    one.peers = lambda: cast(Any, company)
    with pytest.raises(KeyError), Dns(how=NXDOMAIN, nth=3).inject(one):
        assert (company.resolver._how, company.resolver._from) == (NXDOMAIN, 3)
        assert not company.broken.told(RESOLVER).healed
        raise KeyError
    assert company.resolver._how == "" and company.broken.told(RESOLVER).healed
    with pytest.raises(CannotInject), Dns(how=NXDOMAIN).inject(scene()):
        pass


@pytest.mark.parametrize("hits", [0, 2])
def test_it_fired_only_if_a_question_was_answered_badly(hits: int) -> None:
    account = Dns(how=NXDOMAIN).account(conducted(peers=(Told(address=RESOLVER, hits=hits),)), 0)
    assert account.fired == hits and account.note


@pytest.mark.parametrize(("questions", "nths"), [(0, set()), (1, {1}), (4, {1, 4})])
def test_every_way_from_the_first_and_from_the_last_question_on(questions: int, nths: set[int]) -> None:
    run = clean(atomic_rewrite())
    found = list(candidates(run, msgspec.structs.replace(calibration(None, run), questions=questions)))
    faults = [c.fault for c in found]
    assert {(f.how, f.nth) for f in faults if isinstance(f, Dns)} == {(how, nth) for how in HOWS for nth in nths}


def test_json_and_text() -> None:
    fault = Dns(how=NXDOMAIN, nth=2, back_s=2.0)
    assert msgspec.json.decode(msgspec.json.encode(fault), type=AnyFault) == fault
    assert str(fault) == "the resolver answers that there is no such name, for 2 s, from question 2 on"
