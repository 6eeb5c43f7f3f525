"""Whether the companions may live in a network of their own: tried once, with nothing broken, before kind `link` is.

What a target and its companion share besides the loopback's ports (abstract unix sockets, IPv6, interfaces) is no
longer shared there. A program that needs it would fail for that reason, and not for what is done to the link.
"""

from __future__ import annotations

from blackstart.campaign.serving import patience_of
from blackstart.campaign.worker import Outcome
from blackstart.core.calibration import Calibration
from blackstart.core.history import STOPPED
from blackstart.core.verdict import FAILED
from blackstart.faults.link import PLAIN, Link, companion_ports
from blackstart.trials import Plan

CONTROL = "control"


def control(calibration: Calibration) -> Plan | None:
    """The null trial with the companions apart; None where there is no companion to be put apart."""
    clean = calibration.chain[0]
    ports = companion_ports(clean)
    if not calibration.is_service or not ports:
        return None
    faults = (Link(what=PLAIN, ports=ports),)
    return Plan(kind="null", start=clean.start, faults=faults, patience=patience_of(calibration))


def objection(outcome: Outcome) -> str:
    """Why the kind `link` cannot be tried after this control; `` if it can."""
    history = outcome.history
    failed = [verdict for verdict in outcome.verdicts if verdict.outcome == FAILED]
    notes = [injected.note for injected in history.injected if not injected.fired]
    first = history.run("run")
    why = history.trouble or next(iter(notes), "")
    if not why and failed:
        why = "; ".join(failed[0].evidence) or failed[0].consequence
    if not why and (first is None or first.end.how != STOPPED):
        why = "the service does not come up"
    return f"no bad links: with its companions in a network of their own {why}" if why else ""
