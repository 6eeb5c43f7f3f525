"""Kind `link`: the network between the target and its companions (`--with`) is lossy, slow, cut, or has forgotten.

The companions of such a trial live in a network of their own, and what the target sends to 127.0.0.1:PORT goes over a
link of the lab's, packet by packet: TCP itself loses, waits and sends again, as it does between two machines. The fault
begins just before a chosen call on a companion's socket. A cut ends by itself before a program could be blamed for
TCP's own long waits; one that forgets (a firewall or a router restarted) leaves new connections alone, and those from
before never hear a word again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import msgspec

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import Injected
from blackstart.core.trace import SOCKET, Operation
from blackstart.core.units import plural
from blackstart.faults.kill import crash_before
from blackstart.faults.point import Point, spread, unplanned
from blackstart.faults.scene import RESTART, RUN, Candidate, CannotInject, Scene, during, fired_in_gate
from blackstart.gate import HERE, Caller
from blackstart.lab import Impairment, Joined
from blackstart.sandbox import Sandbox
from blackstart.sandbox.machine import LANDLOCK
from blackstart.targets import Conducted

# The words of the catalogue.
PLAIN, CUT, LOSSY, SLOW, FORGOTTEN = "plain", "partition", "loss", "delay", "forgotten"
# TCP asks again after 0.2, 0.6, 1.4 and 3 s: it is through half a second after such a cut.
CUT_S = 2.5
_WORDS = {
    PLAIN: "is as it always is",
    CUT: f"is cut for {CUT_S:g} s",
    LOSSY: "loses 30 % of the packets each way",
    SLOW: "takes 200 ms more each way",
    FORGOTTEN: "forgets its connections (new ones pass)",
}
_IMPAIRMENTS = {
    LOSSY: Impairment(loss_percent=30),
    SLOW: Impairment(delay_ms=200),
    FORGOTTEN: Impairment(forgets_connections=True),
}
_SENDING = frozenset(("write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"))
_LOCAL = "socket:inet:127."


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="link", tag_field="fault"):
    """Before this point the link to the companions becomes so. ports: on which they serve the target.

    Without a point nothing is done to it: the companions only live in a network of their own.
    """

    kind: ClassVar[str] = "link"
    what: str
    ports: tuple[int, ...]
    point: Point | None = None
    phase: str = RUN

    @property
    def lasting(self) -> bool:
        """Before the restart the link is as it always is."""
        return False

    def __str__(self) -> str:
        begins = f" from {self.point} on{during(self.phase)}" if self.point else ""
        return f"the link to the companions {_WORDS[self.what]}{begins}"

    def join(self, sandbox: Sandbox, seed: int) -> Joined:
        """The link, still good; made before the first start, whichever start it is bad in."""
        return Joined(sandbox, [(p, port) for port in self.ports for p in ("tcp", "udp")], seed=seed)

    @contextmanager
    def inject(self, scene: Scene) -> Iterator[None]:
        if scene.zygote.isolation == LANDLOCK:
            raise CannotInject("without namespaces there is no network of the companions' own")
        joint = scene.joint()
        if joint is None:
            raise CannotInject("there are no companions that a link could lead to")
        assert isinstance(joint, Joined)
        with ExitStack() as healing:

            def begin(_: Caller) -> tuple[bool, str]:
                applied = joint.apply(_IMPAIRMENTS.get(self.what), CUT_S if self.what == CUT else 0.0)
                if self.what != FORGOTTEN:  # what was forgotten does not come back
                    healing.enter_context(applied)
                return True, ""

            if self.point is None:
                yield
                return
            order = msgspec.structs.replace(self.point.tamper(f"@{self.point.nth} {HERE}"), act=begin)
            with scene.armed(order):
                yield

    def account(self, conducted: Conducted, first_tamper: int) -> Injected:
        """Fired means: the link's own counters say that packets were dropped or delayed."""
        if self.point is None:
            return Injected(fault=str(self), kind=self.kind, fired=1, note="nothing was done to the link")
        account = fired_in_gate(self.kind, str(self), conducted, first_tamper, self.point.operation)
        if not account.fired:
            return account
        dropped, delayed = (conducted.packets.get(fate, 0) for fate in ("dropped", "delayed"))
        note = f"{plural(dropped, 'packet')} dropped, {delayed} delayed" if dropped or delayed else "no packet met it"
        return msgspec.structs.replace(account, fired=int(bool(dropped or delayed)), note=note)


def candidates(clean: CleanRun, calibration: Calibration) -> Iterator[Candidate]:
    """Each way in which a link can be bad for a service, before the connects to a companion and before what is sent
    there. A job is over before TCP has sent again what was lost a few times: its waits would look endless.
    """
    served = companion_ports(clean, calibration)
    if not served or not calibration.is_service:
        return
    there = [o for o in clean.trace if o.path.startswith(_LOCAL) and _port(o) in served]
    worth = [o for o in there if o.call == "connect" or o.call in _SENDING]
    for point, places in spread(worth):
        for order, what in enumerate((FORGOTTEN, CUT, LOSSY, SLOW)):
            if what == FORGOTTEN and point.call == "connect":
                continue  # there is nothing yet that could be forgotten
            yield Candidate(
                fault=Link(what=what, ports=served, point=point),
                start=clean.start,
                rank=(order, 7),
                cause=("link", what, point.call),
                path=point.path,
                places=places,
            )
    yield from _during_recovery(worth, clean, served)


def _during_recovery(worth: list[Operation], clean: CleanRun, served: tuple[int, ...]) -> Iterator[Candidate]:
    """Killed in mid-work; when it comes up again the link is cut as it connects, or forgets what it first says."""
    changed = next((o.masked for o in clean.trace if o.changes), "")
    crash = crash_before(changed, clean) if changed else None
    for point, places in spread([o for o in worth if o.nth == 1]) if crash is not None else ():
        what = CUT if point.call == "connect" else FORGOTTEN
        yield Candidate(
            fault=Link(what=what, ports=served, point=unplanned(point), phase=RESTART),
            crash=crash,
            start=clean.start,
            rank=(6, 7),
            cause=("link during recovery", what, point.call),
            path=point.path,
            places=places,
        )


def companion_ports(clean: CleanRun, calibration: Calibration) -> tuple[int, ...]:
    """The ports of 127.0.0.0/8 on which companions served the target; () where something leads past the link.

    Who serves by datagrams sends to its own users, too, and they are none. Besides the loopback over IPv4, a target may
    know its companions by IPv6 or by abstract unix names: these exist in one network only.
    """
    own = {_port(o) for o in clean.trace if o.call == "bind"}
    sent = [o for o in clean.trace if o.call in _SENDING and o.kind == SOCKET]
    if any(o.path.startswith(("socket:inet6:", "socket:unix:@")) for o in sent):
        return ()
    served = {_port(o) for o in sent if o.path.startswith(_LOCAL) and o.masked in calibration.peers}
    return tuple(sorted(served - own - {0}))


def unlinked(clean: CleanRun, calibration: Calibration) -> Iterator[tuple[str, str]]:
    """What leads past the link: (how the surface names it, why it is not broken)."""
    spoken = (o.masked for o in clean.trace if o.kind == SOCKET and (o.call == "connect" or o.call in _SENDING))
    for path in dict.fromkeys(spoken):
        name = path.removeprefix("socket:")
        if path.startswith("socket:unix:@"):
            yield name, "kind link: an abstract name exists in one network only, so no link was tried"
        elif path.startswith("socket:unix:") and path in calibration.peers:
            yield name, "kind link: a unix socket is no network"
        elif path.startswith("socket:inet6:") and path in calibration.peers:
            yield name, "kind link: the companions' network is joined over IPv4 only"


def _port(operation: Operation) -> int:
    port = operation.path.rpartition(":")[2]
    return int(port) if operation.path.startswith("socket:inet") and port.isdecimal() else 0
