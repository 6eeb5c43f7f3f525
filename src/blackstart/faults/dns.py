"""Kind `dns`: the resolver that the target asks says nothing, no, that it failed, is slow, or names a wrong address.

In a sandbox with companions every name means the sandbox itself, so the target finds companions by their names. From
a chosen question on the resolver is broken; a job's is well again after OUTAGE_S, a service's after its workload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

import msgspec

from blackstart.core import history
from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.units import plural
from blackstart.faults.peer import OUTAGE_S
from blackstart.faults.scene import RUN, Candidate, CannotInject, CompanyGone, Peers, Scene
from blackstart.proxy.resolver import MUTE, NXDOMAIN, SERVFAIL, SLOW, SLOW_S, WRONG
from blackstart.targets import Conducted

RESOLVER = "resolver"
_WORDS = {
    MUTE: "does not answer",
    NXDOMAIN: "answers that there is no such name",
    SERVFAIL: "answers that it failed",
    SLOW: f"answers {SLOW_S:.0f} s late",
    WRONG: "answers with an address that leads nowhere",
}
_ORDER = (MUTE, NXDOMAIN, WRONG, SERVFAIL, SLOW)


class Dns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="dns", tag_field="fault"):
    """From the n-th question on; back_s: well again so long after its first bad answer (0: when all is healed)."""

    kind: ClassVar[str] = "dns"
    how: str
    nth: int = 1
    back_s: float = 0.0
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """Healed before the restart."""
        return False

    def __str__(self) -> str:
        back = f", for {self.back_s:.0f} s" if self.back_s else ""
        return f"the resolver {_WORDS[self.how]}{back}, from question {self.nth} on"

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        peers = scene.peers()
        if peers is None:
            raise CannotInject("there is no resolver of ours")
        breaking = _Breaking(self, peers)
        try:
            peers.call(breaking.begin())
            peers.breaks(RESOLVER, breaking)
            yield
        finally:
            with suppress(CompanyGone):
                peers.call(breaking.heal())

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: a question was answered badly."""
        hits = sum(peer.hits for peer in conducted.peers if peer.address == RESOLVER)
        note = f"answered so: {plural(hits, 'question')}" if hits else "it did not ask so often"
        outputs = conducted.outputs_at_firing
        return Injected(fault=str(self), kind=self.kind, hits=hits, fired=hits, outputs=outputs, note=note)


class _Breaking:
    """The fault at work; all of it runs in the loop of the proxies."""

    def __init__(self, fault: Dns, peers: Peers) -> None:
        self._fault = fault
        self._resolver = peers.resolver
        self._healed = False
        self._timer: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Break it."""
        self._resolver.breaks(self._fault.how, self._fault.nth)
        if self._fault.back_s:
            self._timer = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        await self._resolver.hit.wait()
        await asyncio.sleep(self._fault.back_s)
        await self.heal()

    async def heal(self) -> None:
        """End it; a later fault's answers are no reason to come back again."""
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._resolver.heal()
        self._healed = True

    def told(self, path: str) -> history.Peer:
        """What it did."""
        return history.Peer(address=path, hits=self._resolver.hits, healed=self._healed)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each way of failing from the first question on, and from the last one of a clean run."""
    back_s = 0.0 if calibration.is_service else OUTAGE_S
    for nth in dict.fromkeys((1, calibration.questions)) if calibration.questions else ():
        for order, how in enumerate(_ORDER):
            yield Candidate(
                fault=Dns(how=how, nth=nth, back_s=back_s),
                start=clean.start,
                rank=(order // 2 + (0 if nth == 1 else 2), 3),
                cause=("dns", how),
            )
