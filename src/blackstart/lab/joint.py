"""Two networks of one sandbox that seem to be one: the target's, and that in which its companions live.

The target keeps asking 127.0.0.1:PORT, and the companion keeps seeing a client at 127.0.0.1: no address is rewritten
and no connection is taken over. Routing rules send what goes to the companions' ports over a link of the lab's instead
of the loopback, where its packets can be lost, late, or cut off; with nothing applied it is a plain link.
Not joined: IPv6 loopback and abstract unix sockets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import msgspec

from blackstart.core.errors import SandboxLimit
from blackstart.lab.chaos import Applied, NetworkChaos
from blackstart.lab.impairment import Impairment, LabError
from blackstart.lab.lab import Lab
from blackstart.sandbox import Sandbox

NEAR, FAR = "target", "companions"


class Joined(Lab):
    """The joint of a sandbox's two networks; open from the beginning. Raises SandboxLimit where it cannot be."""

    _takes_shortcuts = False

    def __init__(self, sandbox: Sandbox, ports: Collection[tuple[str, int]] = (), *, seed: int = 0) -> None:
        """ports: (protocol, port) of companions that are reached before anybody has seen them listen."""
        user, near, far = sandbox.networks()
        try:
            paths = {NEAR: f"/proc/self/fd/{near}", FAR: f"/proc/self/fd/{far}"}
            super().__init__(adopted=paths, inside=f"/proc/self/fd/{user}", seed=seed)
            # One Ethernet address for both: without neighbours to be found, a packet is sent to the sender's own.
            mac = self.hosts[NEAR].interfaces[0].mac
            for host in self:
                host.interfaces = tuple(msgspec.structs.replace(i, address="", mac=mac) for i in host.interfaces)
            self.__enter__()
        except (LabError, OSError) as error:
            raise SandboxLimit(f"the companions cannot have a network of their own: {error}") from None
        finally:
            for descriptor in (user, near, far):
                os.close(descriptor)
        self._reached: set[tuple[str, int]] = set()
        try:
            self.ask({"do": "join", "near": NEAR, "far": FAR})
            self.reach(ports)
        except (LabError, SandboxLimit) as error:
            self.close()
            raise SandboxLimit(f"the companions' network cannot be joined: {error}") from None

    def reach(self, ports: Collection[tuple[str, int]]) -> None:
        """From now on what listens there on these (protocol, port) is reached from the target's loopback."""
        new = sorted(set(ports) - self._reached)
        if new:
            with _limits():
                self.ask({"do": "reach", "near": NEAR, "far": FAR, "ports": new})
            self._reached |= set(new)

    def counts(self) -> dict[str, int]:
        """Packets by fate (dropped, delayed ...), over all that was ever applied."""
        total: Counter[str] = Counter()
        with _limits():
            entries = self.ask({"do": "counts"})[0]["entries"]
        for counts in entries.values():
            total.update(counts)
        return dict(total)

    def apply(self, impairment: Impairment | None, lasts_s: float = 0.0) -> Applied:
        """Impair both directions, or cut them (None), for so many seconds (0: until healed)."""
        chaos = NetworkChaos(self)
        with _limits():
            if impairment is None:
                return chaos.partition(NEAR, FAR, lasts_s)
            return chaos.apply((NEAR, FAR), impairment, duration_s=lasts_s)


@contextmanager
def _limits() -> Iterator[None]:
    """What goes wrong between the networks makes one trial unknown, and ends no run."""
    try:
        yield
    except LabError as error:
        raise SandboxLimit(f"the link to the companions failed: {error}") from None
