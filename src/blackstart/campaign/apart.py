"""Whether the companions may live in a network of their own: tried once, with nothing broken, before what is between.

What a target and its companion share besides the loopback's ports (abstract unix sockets, interfaces; over a link also
IPv6) is no longer shared there. A program that needs it would fail for that reason, and not for what is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from blackstart.campaign.serving import patience_of
from blackstart.campaign.worker import Outcome
from blackstart.core.calibration import Calibration
from blackstart.core.history import EXITED, STOPPED
from blackstart.core.verdict import FAILED
from blackstart.faults import link, peer
from blackstart.faults.link import Link
from blackstart.faults.peer import Peer
from blackstart.trials import Plan

_WHAT = {
    "link": "no bad links: with its companions in a network of their own",
    "peer": "no broken peers: with its companions behind proxies",
}


def controls(calibration: Calibration, kinds: Collection[str]) -> Iterator[Plan]:
    """The null trials with the companions apart: one for each of these kinds that has something to break here."""
    clean = calibration.chain[0]
    ports = link.companion_ports(clean, calibration)
    point = peer.first_connect(clean, calibration)
    if "link" in kinds and ports and calibration.is_service:
        yield _control(calibration, Link(what=link.PLAIN, ports=ports))
    if "peer" in kinds and point is not None:
        yield _control(calibration, Peer(point=point, how=peer.PLAIN))


def _control(calibration: Calibration, fault: Link | Peer) -> Plan:
    start, patience = calibration.chain[0].start, patience_of(calibration)
    return Plan(kind="null", start=start, faults=(fault,), patience=patience, rerun=not calibration.refuses_rerun)


def untouched(calibration: Calibration, kinds: Collection[str]) -> Iterator[tuple[str, str]]:
    """What no trial of these kinds reaches of a target that has companions, and why: (what, why)."""
    if "power" in kinds:
        yield "files of the companions", "power cuts are tried on the target's own files; theirs stay as they are"
    if "link" in kinds and not calibration.is_service:
        yield "links to the companions", "they are broken for services only: a job is over before TCP has sent again"
    elif "link" in kinds:
        yield from link.unlinked(calibration.chain[0], calibration)


def kind_of(plan: Plan) -> str:
    """The kind that this is a control of."""
    return plan.faults[0].kind


def objection(outcome: Outcome, kind: str) -> str:
    """Why the kind cannot be tried after this control; `` if it can."""
    history = outcome.history
    failed = [verdict for verdict in outcome.verdicts if verdict.outcome == FAILED]
    notes = [injected.note for injected in history.injected if not injected.fired]
    first = history.run("run")
    why = history.trouble or next(iter(notes), "")
    if not why and failed:
        why = "; ".join(failed[0].evidence) or failed[0].consequence
    if not why and (first is None or first.end.how not in (STOPPED, EXITED)):
        why = "it does not come up"
    return f"{_WHAT[kind]} {why}" if why else ""
